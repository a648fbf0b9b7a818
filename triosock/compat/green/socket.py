"""`GreenSocket`: a `socket.socket` whose blocking calls wait in trio.

Rules of this file:

1. Calls give the standard library's results and errors: partial results, `TimeoutError("timed out")` after
   `settimeout()` seconds, BlockingIOError at once for a timeout of 0.
2. O_NONBLOCK of the descriptor is not changed, since the serving thread shares the socket of a datagram
   server: calls use MSG_DONTWAIT.
3. A handler that never has to wait yields after `IN_A_ROW` calls: see `waiting.py`.
4. In a drain, a wait for another request returns the end of the stream: see `is_over()`.
"""

from __future__ import annotations

import errno
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from triosock._core.transport.socket_state import LOOKS

from . import tasks
from .readers import Input
from .tasks import notify_closing, wait_readable, wait_writable
from .waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from socket import _SendableFile

    from _typeshed import ReadableBuffer, WriteableBuffer

    from triosock.compat.requests.signatures import ClientAddress

    Message = tuple[bytes, list[tuple[int, int, bytes]], int, ClientAddress]
    MessageInto = tuple[int, list[tuple[int, int, bytes]], int, ClientAddress]

T = TypeVar("T")

#: As an int: each `|` of an enum would make a new member.
_DONTWAIT = int(socket.MSG_DONTWAIT)
_plain = socket.socket
_recv, _recv_into, _send = _plain.recv, _plain.recv_into, _plain.send


def take_over(request: socket.socket) -> GreenSocket:
    """Return a green socket that has the descriptor of a plain one."""
    timeout = request.gettimeout()
    family, type_, proto = request.family, request.type, request.proto
    green = GreenSocket(family, type_, proto, request.detach())
    green.settimeout(timeout)
    return green


class GreenSocket(Waiting, socket.socket):
    """A socket for a green handler: the standard library's, with waits in trio."""

    __slots__ = (
        "_green_answered",
        "_green_calls",
        "_green_draining",
        "_green_input",
        "_green_retries",
        "_green_timeout",
        "_green_waits",
    )

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        super().__init__(family, type, proto, fileno)
        self._green_timeout: float | None = None
        self._green_calls: int = 0
        self._green_answered: bool | None = None
        self._green_draining: bool = False
        self._green_input = Input()
        self._green_retries = LOOKS
        #: The number of tasks that wait for the descriptor in trio's `wait_readable` or `wait_writable`.
        self._green_waits: int = 0
        if _plain.gettimeout(self) is not None:
            _plain.settimeout(self, None)  # after setdefaulttimeout() the C code would wait itself
            self._green_timeout = socket.getdefaulttimeout()

    # Receiving

    def _receive(self, call: Callable[[], T], empty: T) -> T:
        if self._green_draining and self.is_over():
            return empty
        until = self.begin()
        while True:
            try:
                result = call()
            except BlockingIOError:
                pass
            else:
                self._green_input.quiet = False  # it is not known whether the socket is empty now
                self._green_answered = False
                self.note_call()
                return result
            self._wait_input(until)

    def _wait_input(self, until: float | None) -> None:
        """Wait until something has arrived since the socket was last found empty."""
        if self._green_timeout == 0.0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        task, state = tasks.here(), self._green_input
        reader = task.readers.reader
        if reader is None:
            self._wait_descriptor(until, wait_readable)
        elif state.reader is reader:
            state.quiet = not state.ended
            self._sleep(task, state, until)
        elif self._green_retries:
            self._green_retries -= 1
            self._green_calls = 0
            task.give_turn()  # the caller tries again; a cancellation is delivered when it sleeps
        else:
            state.reader, state.quiet, state.ended = reader, True, False
            reader.add(self.fileno(), state)  # it also reports input that has arrived already
            self._sleep(task, state, until)

    def _sleep(self, task: tasks.GreenTask, state: Input, until: float | None) -> None:
        if until is None and state.quiet:
            self._green_calls = 0
            task.sleep(state)
        else:
            self.wait(until, state.sleep, task.trio_task)

    def _wait_descriptor(
        self, until: float | None, wait: Callable[[int], Coroutine[object, object, None]]
    ) -> None:
        """Wait by trio's functions; OSError if another task closes the socket meanwhile."""
        self._green_waits += 1
        try:
            self.wait(until, wait, self.fileno())
        except trio.ClosedResourceError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
        finally:
            self._green_waits -= 1

    # The two most frequent calls are inlined. They wait outside of `except`, so that a long wait does not
    # keep an exception alive.

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As `socket.socket.recv()`."""
        if flags:
            return self._recv_with(bufsize, flags)
        if self._green_draining and self.is_over():
            return b""
        until, state = self.begin(), self._green_input
        if state.quiet:
            self._wait_input(until)
        while True:
            try:
                data = _recv(self, bufsize, _DONTWAIT)
                break
            except BlockingIOError:
                pass
            self._wait_input(until)
        # A short read has emptied the socket, and the epoll reader reports later input.
        state.quiet = len(data) < bufsize and state.reader is not None and not state.ended
        self._green_answered = False
        self.note_call()
        return data

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """As `socket.socket.recv_into()`."""
        if flags:
            return self._recv_into_with(buffer, nbytes, flags)
        if self._green_draining and self.is_over():
            return 0
        until, state = self.begin(), self._green_input
        if state.quiet:
            self._wait_input(until)
        while True:
            try:
                count = _recv_into(self, buffer, nbytes, _DONTWAIT)
                break
            except BlockingIOError:
                pass
            self._wait_input(until)
        state.quiet = (
            state.reader is not None and not state.ended and count < (nbytes or memoryview(buffer).nbytes)
        )
        self._green_answered = False
        self.note_call()
        return count

    def _recv_with(self, bufsize: int, flags: int) -> bytes:
        if flags & socket.MSG_WAITALL and bufsize > 0:
            room = bytearray(bufsize)
            return bytes(room[: self.recv_into(room, bufsize, flags)])
        return self._receive(lambda: _plain.recv(self, bufsize, flags | _DONTWAIT), b"")

    def _recv_into_with(self, buffer: WriteableBuffer, nbytes: int, flags: int) -> int:
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

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, ClientAddress]:
        """As `socket.socket.recvfrom()`."""
        return self._receive(lambda: _plain.recvfrom(self, bufsize, flags | _DONTWAIT), (b"", None))

    def recvfrom_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, ClientAddress]:
        """As `socket.socket.recvfrom_into()`."""
        return self._receive(lambda: _plain.recvfrom_into(self, buffer, nbytes, flags | _DONTWAIT), (0, None))

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Message:
        """As `socket.socket.recvmsg()`."""
        nothing: Message = (b"", [], 0, None)
        return self._receive(lambda: _plain.recvmsg(self, bufsize, ancbufsize, flags | _DONTWAIT), nothing)

    def recvmsg_into(
        self, buffers: Iterable[WriteableBuffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> MessageInto:
        """As `socket.socket.recvmsg_into()`."""
        nothing: MessageInto = (0, [], 0, None)
        return self._receive(
            lambda: _plain.recvmsg_into(self, buffers, ancbufsize, flags | _DONTWAIT), nothing
        )

    # Sending

    def _send(self, until: float | None, call: Callable[[], int]) -> int:
        while True:
            try:
                result = call()
            except BlockingIOError:
                if self._green_timeout == 0.0:
                    raise
                self._wait_descriptor(until, self._wait_writable)
            else:
                self._green_answered = True
                self.note_call()
                return result

    async def _wait_writable(self, fd: int) -> None:
        await wait_writable(fd)

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """As `socket.socket.send()`."""
        return self._send(self.begin(), lambda: _plain.send(self, data, flags | _DONTWAIT))

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """As `socket.socket.sendall()`: the timeout is for all of it."""
        until = self.begin()
        flags |= _DONTWAIT
        at = 0
        if type(data) is bytes:
            # Usually the kernel takes all of it.
            try:
                at = _send(self, data, flags)
            except BlockingIOError:
                pass
            else:
                self._green_answered = True
                self.note_call()
                if at == len(data):
                    return
        with memoryview(data) as view, view.cast("B") as rest:
            while at < len(rest):
                at += self._send(until, partial(_send, self, rest[at:], flags))

    def sendto(self, data: ReadableBuffer, *args: Any) -> int:
        """As `socket.socket.sendto()`."""
        flags, address = args if len(args) == 2 else (0, *args)
        return self._send(self.begin(), lambda: _plain.sendto(self, data, flags | _DONTWAIT, address))

    def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: ClientAddress = None,
        /,
    ) -> int:
        """As `socket.socket.sendmsg()`."""
        return self._send(
            self.begin(), lambda: _plain.sendmsg(self, buffers, ancdata, flags | _DONTWAIT, address)
        )

    def sendfile(self, file: _SendableFile, offset: int = 0, count: int | None = None) -> int:
        """As `socket.socket.sendfile()`, by reading and sending: os.sendfile() would block in the socket."""
        return self._sendfile_use_send(file, offset, count)

    # Others

    def accept(self) -> tuple[GreenSocket, ClientAddress]:
        """As `socket.socket.accept()`; gives a GreenSocket."""
        if self._green_timeout != 0.0:
            self._wait_descriptor(self.begin(), wait_readable)
        plain, address = super().accept()
        return take_over(plain), address

    def detach(self) -> int:
        """As `socket.socket.detach()`."""
        self._leave_reader(self._green_input.reader.remove if self._green_input.reader else None)
        return super().detach()

    def _real_close(self, *args: object) -> None:
        # `close()` calls this when the last file is closed too.
        self._leave_reader(self._green_input.reader.forget if self._green_input.reader else None)
        super()._real_close(*args)

    def _leave_reader(self, leave: Callable[[int, Input], None] | None) -> None:
        """Wake the tasks that wait for this socket: they find that the descriptor is closed."""
        fd, state = self.fileno(), self._green_input
        if fd == -1:
            return
        if leave is not None:
            leave(fd, state)
            state.reader = None
        if state.sleepers:
            state.note_input(True)
        if self._green_waits:
            notify_closing(fd)


class GreenDatagramSocket(GreenSocket):
    """The socket of a datagram server for one request. It shares the descriptor, and does not close it at its
    end.
    """

    __slots__ = ("_green_shared",)

    _green_shared: socket.socket

    @classmethod
    def of(cls, shared: socket.socket) -> GreenDatagramSocket:
        """Return a socket for one request."""
        green = cls(shared.family, shared.type, shared.proto, shared.fileno())
        green._green_shared = shared
        green._green_timeout = shared.gettimeout()
        return green

    async def _wait_writable(self, fd: int) -> None:
        # In trio only one task may wait until a descriptor is writable, so the others wait for a lock.
        async with _write_locks.setdefault(fd, trio.Lock()):
            await wait_writable(fd)

    def close(self) -> None:
        """Close the server's socket, as in the standard library."""
        self.release_descriptor()
        self._green_shared.close()

    def release_descriptor(self) -> None:
        """Give the descriptor back to the server; the object cannot be used afterwards."""
        if self.fileno() != -1:
            self.detach()

    def _wait_input(self, until: float | None) -> None:
        # No epoll reader may watch the descriptor, since the serving thread waits for it too.
        if self._green_timeout == 0.0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self._wait_descriptor(until, wait_readable)


#: By descriptor: the task that has the lock may wait until it is writable.
_write_locks: dict[int, trio.Lock] = {}
