"""Whether more work should be sent here: what load balancers and orchestrators ask.

Rule: **ready is whoever would take on a new client now**, and will go on doing so for a while. A server that
drains, or has been told that it will, is not; nor is one that is suspended or full; and all servers of a trio
run are asked, for whoever asks can only send clients to all of them or to none.
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
