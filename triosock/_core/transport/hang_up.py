"""Hearing that a peer has hung up, without taking what it sent before.

The kernel tells it apart from input by a flag of its own, EPOLLRDHUP (epoll_ctl(2)), which comes even if
nobody reads what stands before it. The connections of a server are told by its epoll reader; for a connection
without one this file makes an epoll of its own, for the length of the wait.
"""

from __future__ import annotations

import select
from typing import Final

import trio

HAS_HANG_UPS: Final = hasattr(select, "epoll") and hasattr(select, "EPOLLRDHUP")


async def wait_hang_up(fd: int) -> None:
    """Return when the peer of this stream socket has shut down or closed its side, or reset the connection. A
    checkpoint. Does not notice that `fd` is closed on this side.

    Raises: TypeError on systems that cannot tell.
    """
    if not HAS_HANG_UPS:
        raise TypeError(
            "this system cannot tell that a peer has hung up: receive from the connection instead"
        )
    with select.epoll() as epoll:
        # Errors and a full hang-up are always told.
        epoll.register(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)
        await trio.lowlevel.wait_readable(epoll.fileno())
