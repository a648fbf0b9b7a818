"""The unbuffered `wfile` of a stream handler."""

from __future__ import annotations

from io import BufferedIOBase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

    from _typeshed import ReadableBuffer


class _SocketWriter(BufferedIOBase):
    """Writes all of each `write()` to the socket at once."""

    def __init__(self, sock: socket) -> None:
        self._sock = sock

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        self._sock.sendall(data)
        with memoryview(data) as view:
            return view.nbytes

    def fileno(self) -> int:
        return self._sock.fileno()
