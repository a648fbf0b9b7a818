"""The socket of a green handler under a native server: an interface to its connection.

The rules:

1. **Each call behaves as on a blocking socket**, with the same errors: OSError, ConnectionError, and
   TimeoutError after `settimeout()`. A call that needs a descriptor raises OSError with the reason.
2. **A wait between requests is an idle wait**, as on a green socket: before the first byte, and if this side
   sent last. A drain ends it: the handler sees the end of the stream.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, TypeVarTuple, Unpack, final

import trio

from triosock import MemoryAddress, TcpAddress, UnixAddress

from . import tasks
from .waiting import OwnTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from _typeshed import ReadableBuffer, WriteableBuffer

    from triosock import Address, Connection
    from triosock.compat.requests.signatures import ClientAddress

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: ConnectionResetError or BrokenPipeError.
_Broken: TypeAlias = "Callable[[int, str], OSError]"
#: `socket.makefile()`, which works with any object that has `recv_into`, `send` and `_io_refs`.
_makefile: Any = socket.socket.makefile


def sockaddr_of(address: Address) -> ClientAddress:
    """Return an address in the form of `socket.getpeername()`."""
    if isinstance(address, (TcpAddress, UnixAddress)):
        return address.sockaddr
    return str(address) if isinstance(address, MemoryAddress) else (str(address), 0)


@final
class ConnectionSocket(OwnTimeout):
    """The `request` of a handler. It can be used only in the handler's green task."""

    type: int = socket.SOCK_STREAM
    proto: int = 0

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._green_timeout: float | None = None
        self._closed = False
        #: The number of open files that `makefile()` has made, as in `socket.socket`.
        self._io_refs = 0
        #: Whether this side sent last, or nothing was sent or received yet.
        self._sent_last = True

    def __repr__(self) -> str:
        return f"<ConnectionSocket of {self._conn.peer}{' (closed)' if self._closed else ''}>"

    def __enter__(self) -> ConnectionSocket:
        return self

    def __exit__(self, *args: object) -> None:
        if not self._closed:
            self.close()

    @property
    def family(self) -> int:
        """As `socket.socket.family`."""
        return int(getattr(self._conn.peer, "family", socket.AF_UNSPEC))

    # Receiving

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As `socket.socket.recv()`, without flags."""
        _check_flags(flags)
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        self._check_open()
        if not bufsize:
            return b""
        if self._green_timeout == 0.0 and not self._conn.wire.has_input():
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        data = self._wait(ConnectionResetError, self._receive, bufsize)
        self._sent_last = self._sent_last and not data
        return data

    async def _receive(self, size: int) -> bytes:
        if not self._sent_last:
            return await self._conn.receive_some(size)
        data = b""
        with self._conn.idle():
            data = await self._conn.receive_some(size)
        return data

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """As `socket.socket.recv_into()`, without flags."""
        with memoryview(buffer).cast("B") as view:
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data)

    # Sending

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """As `socket.socket.send()`, without flags; sends all of it."""
        self.sendall(data, flags)
        return memoryview(data).nbytes

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """As `socket.socket.sendall()`, without flags."""
        _check_flags(flags)
        self._check_open()
        self._wait(
            BrokenPipeError,
            self._conn.send_all,
            data if isinstance(data, (bytes, bytearray)) else memoryview(data),
        )
        self._sent_last = True

    def shutdown(self, how: int, /) -> None:
        """As `socket.socket.shutdown()`. Does nothing for the receiving side."""
        self._check_open()
        if how != socket.SHUT_RD:
            self._wait(BrokenPipeError, self._conn.send_eof)

    # Ending

    def makefile(self, *args: Any, **options: Any) -> Any:
        """As `socket.socket.makefile()`."""
        return _makefile(self, *args, **options)

    def close(self) -> None:
        """As `socket.socket.close()`: the connection is closed when its files are closed too."""
        self._closed = True
        self._close_if_last()

    def _decref_socketios(self) -> None:
        # `socket.SocketIO.close()` calls this.
        self._io_refs -= 1
        if self._closed:
            self._close_if_last()

    def _close_if_last(self) -> None:
        if self._io_refs <= 0:
            tasks.here().wait(self._conn.aclose)

    # Others

    def getpeername(self) -> ClientAddress:
        """As `socket.socket.getpeername()`."""
        return sockaddr_of(self._conn.peer)

    def getsockname(self) -> ClientAddress:
        """As `socket.socket.getsockname()`."""
        return sockaddr_of(self._conn.local)

    def setsockopt(self, *args: object) -> None:
        """Do nothing: there may be no socket of the kernel."""

    def fileno(self) -> int:
        """Raise OSError: there may be no descriptor, and a wait for one would bypass trio."""
        raise OSError(errno.EOPNOTSUPP, "this request is a connection of a native server, and no descriptor")

    def _check_open(self) -> None:
        if self._closed and self._io_refs <= 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def _wait(self, broken: _Broken, async_fn: Callable[[Unpack[Ts]], Awaitable[T]], *args: Unpack[Ts]) -> T:
        try:
            return tasks.here().wait(self._in_time, lambda: async_fn(*args))
        except trio.BrokenResourceError as error:
            number = errno.EPIPE if broken is BrokenPipeError else errno.ECONNRESET
            raise broken(number, os.strerror(number)) from error
        except trio.ClosedResourceError as error:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from error

    async def _in_time(self, call: Callable[[], Awaitable[T]]) -> T:
        if not self._green_timeout:
            return await call()
        with trio.move_on_after(self._green_timeout):
            return await call()
        raise TimeoutError("timed out")


def _check_flags(flags: int) -> None:
    if flags:
        raise OSError(errno.EOPNOTSUPP, "flags need a socket, and this is a connection of a native server")
