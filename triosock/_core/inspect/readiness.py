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
    found = list(servers(hidden))
    if not found:
        return ("no server is serving",)
    states = [(one.name, state(one)) for one in found]
    return tuple(f"{name}: {word}" for name, word in states if word != "ready")


def state(server: object) -> str:
    """Return "ready", or why a server takes on nobody: "draining", "suspended", "full"."""
    if getattr(server, "draining", False):
        return "draining"
    gate = getattr(server, "_gate", None)
    if gate is not None and not gate.is_open:
        return "suspended"
    registry = getattr(server, "_registry", None)
    return "ready" if registry is None or registry.has_room else "full"
