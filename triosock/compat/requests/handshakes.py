"""The handshakes of one server that are in progress: of requests that no handler has yet.

Rules of this file: `during()` adds the request before it reads `is_over`, and `cut()` sets `is_over` before
it reads the requests; so one of the two sees the other's change, and no handshake goes on after a cut.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .clock import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .signatures import Request

_Socket = socket.socket


class Handshakes:
    """The handshakes of one request table."""

    __slots__ = ("is_over", "pending")

    def __init__(self) -> None:
        #: The requests, by their identities, with the times of their beginnings (`clock.now()`).
        self.pending: dict[int, tuple[Request, float]] = {}
        #: Whether handshakes that begin now are cut.
        self.is_over: bool = False

    @contextmanager
    def during(self, request: Request) -> Iterator[None]:
        """Have the handshake of a request, which is done in the block, end by `cut()`."""
        self.pending[id(request)] = request, now()
        try:
            if self.is_over:
                end(request)
            yield
        finally:
            del self.pending[id(request)]

    def cut(self) -> None:
        """End all handshakes, now and later, until `is_over` is reset. From any thread."""
        self.is_over = True
        for request, _ in tuple(self.pending.values()):
            end(request)


def end(request: Request) -> None:
    """End a handshake: it fails as if the client had disconnected. From any thread."""
    try:
        # Not `SSLSocket.shutdown()`, which would remove the TLS layer during the handshake.
        _Socket.shutdown(request, socket.SHUT_RDWR)
    except OSError:
        pass  # the connection has ended already
