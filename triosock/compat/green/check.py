"""Checks whether a server can be green, when it is made and has no socket yet."""

from __future__ import annotations

import socket

from triosock.compat.requests.table import of_class


def check(server: object) -> None:
    """Raise TypeError, with the reason, if this server cannot be green."""
    kind = type(server).__name__
    if hasattr(type(server), "active_children"):
        raise TypeError(
            f"{kind} forks, and a green server must not: a child would have a copy of the trio run with "
            "every task in it. Take ForkingMixIn out of its bases"
        )
    if not hasattr(type(server), "process_request_thread"):
        raise TypeError(
            f"{kind} is to be green, and handles requests in the thread that accepts: put GreenMixIn or "
            "ThreadingMixIn in front of its bases"
        )
    policy = of_class(server, "trio_policy")
    if getattr(policy, "proxy", None) is not None and of_class(server, "socket_type") is socket.SOCK_DGRAM:
        raise TypeError(f"{kind} serves datagrams, and a Policy with proxy is for streams")
