"""`GreenSocket`: a `socket.socket` whose blocking calls wait in trio.

Rules of this file:

1. Calls give the standard library's results and errors: partial results, `TimeoutError("timed out")` after
   `settimeout()` seconds, BlockingIOError at once for a timeout of 0.
2. The descriptor's own mode is left alone: calls say MSG_DONTWAIT, as a datagram server's socket is shared
   with the thread that serves.
3. Who never has to wait yields after `IN_A_ROW` calls, the bound of native servers.
4. In a drain, the wait for another request is the end of the stream: see `is_over()`.
"""

from __future__ import annotations

import socket
import sys
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from trio.lowlevel import checkpoint

from triosock.compat import interrupt, loading

from . import tasks
from .tasks import wait_readable, wait_writable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

#: How many calls in a row may go without a wait.
IN_A_ROW = 16
_DONTWAIT = socket.MSG_DONTWAIT
_plain = socket.socket


def make_green(request: Any) -> Any:
    """Return what a green handler gets for a request; what is no socket of the standard library is left."""
    kind = type(request)
    if kind is socket.socket:
        timeout = request.gettimeout()
        family, type_, proto = request.family, request.type, request.proto
        green = GreenSocket(family, type_, proto, request.detach())
        green.settimeout(timeout)
        return green
    if kind is tuple and len(request) == 2 and type(request[1]) is socket.socket:
        return request[0], GreenDatagramSocket.of(request[1])
    ssl = sys.modules.get("ssl")
    if ssl is not None and kind is ssl.SSLSocket:
        return loading.green("tls").make_green_tls(request)
    return request


class Waiting:
    """The part that plain and TLS sockets share: a timeout of its own, waits in trio, fairness, drains.

    Mixed into a socket class; the layout stays that of its base.
    """

    _green_timeout: float | None
    _green_row: int
    #: Whether the last word was ours; None before the first one.
    _green_answered: bool | None
    _green_last: bool

    if TYPE_CHECKING:
        fileno: Callable[[], int]

    def settimeout(self, value: float | None) -> None:
        """As `socket.socket.settimeout()`; the descriptor's mode stays."""
        if value is not None:
            value = float(value)
            if value < 0:
                raise ValueError("Timeout value out of range")
        self._green_timeout = value

    def gettimeout(self) -> float | None:
        """As `socket.socket.gettimeout()`."""
        return self._green_timeout

    def setblocking(self, flag: bool) -> None:
        """As `socket.socket.setblocking()`."""
        self._green_timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """As `socket.socket.getblocking()`."""
        return self._green_timeout != 0.0

    @property
    def timeout(self) -> float | None:
        """As `socket.socket.timeout`."""
        return self._green_timeout

    def begin(self) -> float | None:
        """Return when a call that begins now times out, on the clock of `time.monotonic()`."""
        timeout = self._green_timeout
        return None if timeout is None else monotonic() + timeout

    def attempt(self, until: float | None, wait: Callable[..., Awaitable[None]], call: Callable[[], T]) -> T:
        """Call until it does not have to wait; at most until then."""
        while True:
            try:
                result = call()
            except BlockingIOError:
                if self._green_timeout == 0.0:
                    raise
                self.wait(until, wait)
            except InterruptedError:
                continue
            else:
                self._green_row += 1
                if self._green_row >= IN_A_ROW and self._green_timeout != 0.0 and tasks.current() is not None:
                    self._green_row = 0
                    tasks.wait(checkpoint)
                return result

    def wait(
        self, until: float | None, wait: Callable[..., Awaitable[None]], late: str = "timed out"
    ) -> None:
        """Wait for the descriptor. Raises TimeoutError if that takes too long, OSError if it is closed."""
        self._green_row = 0
        if not tasks.wait(self._wait, until, wait):
            raise TimeoutError(late)

    async def _wait(self, until: float | None, wait: Callable[..., Awaitable[None]]) -> bool:
        if until is None:
            await wait(self.fileno())
            return True
        with trio.move_on_after(max(0.0, until - monotonic())) as scope:
            await wait(self.fileno())
        return not scope.cancelled_caught

    def is_over(self) -> bool:
        """Whether a drain ends the wait that comes now: the peer owes nothing, and has sent nothing more."""
        if not self._green_last or self._green_answered is False:
            return False
        return not interrupt.has_unread(self)  # type: ignore[arg-type]


class GreenSocket(Waiting, socket.socket):
    """A socket for a green handler: the standard library's, with waits in trio."""

    _green_timeout: float | None = None
    _green_row: int = 0
    _green_answered: bool | None = None
    _green_last: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if _plain.gettimeout(self) is not None:
            _plain.settimeout(self, None)  # setdefaulttimeout(): C would wait by itself
            self._green_timeout = socket.getdefaulttimeout()

    # Receiving

    def _receive(self, call: Callable[[], T], empty: T) -> T:
        if self.is_over():
            return empty
        result = self.attempt(self.begin(), wait_readable, call)
        self._green_answered = False
        return result

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As `socket.socket.recv()`."""
        if flags & socket.MSG_WAITALL and bufsize > 0:
            room = bytearray(bufsize)
            return bytes(room[: self.recv_into(room, bufsize, flags)])
        return self._receive(lambda: _plain.recv(self, bufsize, flags | _DONTWAIT), b"")

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As `socket.socket.recv_into()`."""
        if not flags & socket.MSG_WAITALL:
            return self._receive(lambda: _plain.recv_into(self, buffer, nbytes, flags | _DONTWAIT), 0)
        flags &= ~socket.MSG_WAITALL
        with memoryview(buffer).cast("B") as view:
            wanted, got = nbytes or len(view), 0
            while got < wanted:
                rest = view[got:wanted]
                more = self._receive(partial(_plain.recv_into, self, rest, 0, flags | _DONTWAIT), 0)
                if not more or flags & socket.MSG_PEEK:
                    return got + more
                got += more
            return got

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """As `socket.socket.recvfrom()`."""
        return self._receive(lambda: _plain.recvfrom(self, bufsize, flags | _DONTWAIT), (b"", None))

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """As `socket.socket.recvfrom_into()`."""
        return self._receive(lambda: _plain.recvfrom_into(self, buffer, nbytes, flags | _DONTWAIT), (0, None))

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """As `socket.socket.recvmsg()`."""
        nothing: Any = (b"", [], 0, None)
        return self._receive(lambda: _plain.recvmsg(self, bufsize, ancbufsize, flags | _DONTWAIT), nothing)

    def recvmsg_into(self, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """As `socket.socket.recvmsg_into()`."""
        nothing: Any = (0, [], 0, None)
        return self._receive(
            lambda: _plain.recvmsg_into(self, buffers, ancbufsize, flags | _DONTWAIT), nothing
        )

    # Sending

    def _send(self, until: float | None, call: Callable[[], int]) -> int:
        result = self.attempt(until, self._wait_writable, call)
        self._green_answered = True
        return result

    async def _wait_writable(self, fd: int) -> None:
        await wait_writable(fd)

    def send(self, data: Any, flags: int = 0, /) -> int:
        """As `socket.socket.send()`."""
        return self._send(self.begin(), lambda: _plain.send(self, data, flags | _DONTWAIT))

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """As `socket.socket.sendall()`: the timeout is for all of it."""
        until = self.begin()
        with memoryview(data) as view, view.cast("B") as rest:
            at = 0
            while at < len(rest):
                part = rest[at:]
                at += self._send(until, partial(_plain.send, self, part, flags | _DONTWAIT))

    def sendto(self, data: Any, *args: Any) -> int:
        """As `socket.socket.sendto()`."""
        flags, address = args if len(args) == 2 else (0, *args)
        return self._send(self.begin(), lambda: _plain.sendto(self, data, flags | _DONTWAIT, address))

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /) -> int:
        """As `socket.socket.sendmsg()`."""
        return self._send(
            self.begin(), lambda: _plain.sendmsg(self, buffers, ancdata, flags | _DONTWAIT, address)
        )

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As `socket.socket.sendfile()`, by reading and sending: os.sendfile() would block in the socket."""
        return int(self._sendfile_use_send(file, offset, count))  # type: ignore[attr-defined]

    # Others

    def accept(self) -> tuple[Any, Any]:
        """As `socket.socket.accept()`; gives a GreenSocket."""
        if self._green_timeout != 0.0:
            self.wait(self.begin(), wait_readable)
        plain, address = super().accept()
        return make_green(plain), address


class GreenDatagramSocket(GreenSocket):
    """The socket of a datagram server, as the handlers of one of its requests see it: not theirs to close."""

    _green_shared: Any = None

    @classmethod
    def of(cls, shared: socket.socket) -> GreenDatagramSocket:
        """Return one for a request."""
        green = cls(shared.family, shared.type, shared.proto, shared.fileno())
        green._green_shared = shared
        green._green_timeout = shared.gettimeout()
        return green

    async def _wait_writable(self, fd: int) -> None:
        # Only one task may wait for a descriptor in trio; those of the other requests wait for their turn.
        async with _turns.setdefault(fd, trio.Lock()):
            await wait_writable(fd)

    def close(self) -> None:
        """As the server's socket: closes it."""
        self.let_go()
        self._green_shared.close()

    def let_go(self) -> None:
        """Leave the descriptor to the server; the object is of no use afterwards."""
        if self.fileno() != -1:
            self.detach()


#: Whose turn it is to wait for a shared descriptor.
_turns: dict[int, trio.Lock] = {}
