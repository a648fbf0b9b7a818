"""`GreenSSLSocket`: an SSLSocket whose handshake, reads and writes wait in trio.

The class of an SSLSocket is changed, which is possible since both have the same layout. Its descriptor is
made non-blocking, so that OpenSSL reports what it waits for.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .socket import _plain
from .tasks import wait_readable, wait_writable
from .waiting import Waiting

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from socket import _SendableFile

    from _typeshed import ReadableBuffer, WriteableBuffer

T = TypeVar("T")


def make_green_tls(request: ssl.SSLSocket) -> GreenSSLSocket:
    """Change the class of a request to `GreenSSLSocket`; return the same object."""
    timeout = request.gettimeout()
    _plain.setblocking(request, False)
    request.__class__ = GreenSSLSocket
    assert isinstance(request, GreenSSLSocket)
    request.settimeout(timeout)
    return request


class GreenSSLSocket(Waiting, ssl.SSLSocket):
    """A TLS connection of a green handler."""

    _green_timeout: float | None = None
    _green_calls: int = 0
    _green_answered: bool | None = None
    _green_draining: bool = False

    def _tls(self, late: str, call: Callable[[], T]) -> T:
        until = self.begin()
        while True:
            try:
                result = call()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                if self._green_timeout == 0.0:
                    raise
                wait = wait_readable if isinstance(error, ssl.SSLWantReadError) else wait_writable
            else:
                self.note_call()
                return result
            self.wait(until, wait, self.fileno(), late=late)

    def read(self, len: int = 1024, buffer: WriteableBuffer | None = None) -> Any:
        """As `SSLSocket.read()`."""
        if self.is_over():
            return b"" if buffer is None else 0
        # Without a buffer the argument is left out: the module `_ssl` refuses None.
        call = partial(ssl.SSLSocket.read, self, len, *(() if buffer is None else (buffer,)))
        result = self._tls("The read operation timed out", call)
        self._green_answered = False
        return result

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """As `SSLSocket.send()`, which `SSLSocket.sendall()` calls."""
        result = self._tls("The write operation timed out", lambda: ssl.SSLSocket.send(self, data, flags))
        self._green_answered = True
        return result

    def do_handshake(self, block: bool = False) -> None:
        """As `SSLSocket.do_handshake()`."""
        self._tls(
            "_ssl.c: The handshake operation timed out", lambda: ssl.SSLSocket.do_handshake(self, False)
        )

    def unwrap(self) -> socket.socket:
        """As `SSLSocket.unwrap()`."""
        return self._tls("The read operation timed out", lambda: ssl.SSLSocket.unwrap(self))

    def sendfile(self, file: _SendableFile, offset: int = 0, count: int | None = None) -> int:
        """As `SSLSocket.sendfile()`."""
        return self._sendfile_use_send(file, offset, count)
