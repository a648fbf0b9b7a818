"""Detects that a peer has hung up, without receiving what it sent before.

The kernel tells it apart from input by a flag of its own, EPOLLRDHUP (epoll_ctl(2)), which comes even if the
input before it is not read. The epoll reader of a server reports it for its connections; for a connection
without one this file makes an epoll for the length of the wait.
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
        # Errors and a full hang-up are always reported.
        epoll.register(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)
        await trio.lowlevel.wait_readable(epoll.fileno())
