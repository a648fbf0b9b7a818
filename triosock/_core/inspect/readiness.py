"""Readiness: whether load balancers and orchestrators should send more work.

Rule: **a program is ready if all its servers have a place for a new client, and will for a while.** A server
that drains, or is in the delay of a drain, is not ready; nor is one that is suspended or full. What refuses
one client, or begins and ends more often than a probe comes (a rate, `Limits.max_lag`), is not asked. All
servers of a trio run must be ready, since a load balancer sends clients to the whole program.
"""

from __future__ import annotations

from collections.abc import Collection

from .verbs import servers


def why_not_ready(hidden: Collection[str] = ()) -> tuple[str, ...]:
    """Return why this trio run should be sent no more work, one line for each server that says so; none if it
    is ready. Servers with a name in `hidden` do not count. Synchronous; costs a look at each server.
    """
    states = [(one.name, one.why_not_ready()) for one in servers(hidden)]
    if not states:
        return ("no server is serving",)
    return tuple(f"{name}: {why}" for name, why in states if why)
