"""The receiving half of a socket's wire: the fast path of every server.

A non-blocking socket of the standard library, whose system calls are made directly. Its task sleeps only when
the kernel says that it must: in the server's epoll reader (Linux), or in trio's `wait_readable`.

Rules of this file, beside those of `interface.py`:

1. **One checkpoint for each receive, and only one.** A read that has to wait gives others their turn by that;
   a read that found fewer bytes than it asked for has emptied the socket, so the next one goes to sleep
   straight away, without a system call that fails.
2. **A cancelled read has taken nothing.** No await stands between the `recv` that succeeds and the return of
   its bytes.
3. **`_quiet` means that the next input will wake a sleeper.** It is set only by a read that emptied the
   socket, and reset by the epoll reader: see the invariants there. An end of stream is reported only once
   (`_at_end`): after that a read never waits, and `_quiet` is not set again.
4. **An idle wait can be ended from outside** without a scope around it: `interrupt()` wakes the sleeper,
   which then checks why.
5. **The first few waits are checkpoints.** Many connections are one short exchange: their input is there
   after one or a few checkpoints, and to register them with the epoll reader would cost more than to try
   again. A socket is registered once, after LOOKS tries.
"""

from __future__ import annotations

import errno
import select
import socket
from typing import TYPE_CHECKING, NoReturn

import trio
from trio.lowlevel import checkpoint_if_cancelled, current_task, notify_closing, wait_readable

from ..registry.registry import NEVER
from .checkpoints import checkpoint, give_turn, sleep, wake
from .interface import RECEIVE_SIZE, Interrupted, check_receive_size
from .socket_state import SocketState

if TYPE_CHECKING:
    from .epoll import EpollReader


class SocketReceiving(SocketState):
    """What a `SocketWire` receives, and how it waits for it."""

    __slots__ = ()

    # Declared again for type checkers, since methods of this class set them.
    received: int
    input_ended: bool
    failure: trio.BrokenResourceError | None

    async def receive_some(
        self, max_bytes: int | None = None, *, idle: bool = False, iterating: bool = False
    ) -> bytes:
        """Return what is there, up to `max_bytes`; wait if there is nothing; b"", or StopAsyncIteration, at
        the end of the stream.
        """
        size = RECEIVE_SIZE if max_bytes is None else check_receive_size(max_bytes)
        if self._receiving or self.is_closed:
            self._refuse_receive()  # before any wait: its descriptor may be reused by now
        if self._quiet and not (idle and (self._interrupted or self._expired_at == self.received)):
            await self._wait_input(idle)
        elif self.just_begun:
            self.just_begun = False
            await checkpoint_if_cancelled()
        else:
            await checkpoint()
        while True:
            if self.is_closed:
                self._refuse_receive()
            try:
                data = self._sock.recv(size)
            except BlockingIOError:
                await self._wait_input(idle)
            except OSError as error:
                self._fail(error)
            else:
                self._quiet = len(data) < size and not self._at_end
                self.received += len(data)
                self._credit = RECEIVE_SIZE
                if not data:
                    self._note_end(iterating)
                return data

    def _note_end(self, iterating: bool) -> None:
        if self._lost:
            self._quiet = False  # the next receive finds the same
            raise trio.BrokenResourceError("the peer went away") from self.failure
        self.input_ended = True
        if iterating:
            raise StopAsyncIteration

    def _refuse_receive(self) -> NoReturn:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this connection")
        if self.is_closed:
            raise trio.ClosedResourceError("this connection is closed")
        raise trio.ClosedResourceError("this connection's socket was closed by other code")

    async def _wait_input(self, idle: bool) -> None:
        """Sleep until something has come since the socket was last found empty."""
        if self._receiving or self._sock.fileno() != self._fd:
            self._refuse_receive()
        if idle and (self._interrupted or self._expired_at == self.received):
            await checkpoint_if_cancelled()
            self._end_idle_wait()
        entry = self.entry
        self._receiving = True
        if idle:
            entry.idle_since = entry.now()
        else:
            entry.receive_since = entry.now()
        try:
            if not self._watched and await self._wait_unwatched(idle):
                return
            self._quiet = not self._at_end
            self._receiver = task = current_task()
            task.custom_sleep_data = self
            await sleep()
            if self.is_closed:
                raise trio.ClosedResourceError("another task closed this connection")
            if self._quiet and idle and (self._interrupted or self._expired_at == self.received):
                self._end_idle_wait()
        except trio.Cancelled:
            self.note_wait_end(idle=False)
            raise
        finally:
            self._receiving = False
            self._receiver = None
            entry.idle_since = entry.receive_since = NEVER

    def _end_idle_wait(self) -> NoReturn:
        self.note_wait_end(idle=True)
        raise Interrupted

    async def _wait_unwatched(self, idle: bool) -> bool:
        """Wait without the epoll reader, or have it watch from now on and return False. True: look again."""
        epoll_reader = self._epoll_reader
        if epoll_reader is None or not epoll_reader.is_worth_it:
            await self._wait_by_trio(idle)
        elif self._looks:
            self._looks -= 1
            await give_turn()
            await checkpoint_if_cancelled()
        else:
            self._watch(epoll_reader)
            return False
        return True

    def _watch(self, epoll_reader: EpollReader) -> None:
        if not self._watched:
            epoll_reader.add(self._fd, self)  # reports input that is there already, too
            self._watched = True

    def note_input(self, ended: bool) -> None:
        """The epoll reader calls it: input has arrived."""
        self._quiet = False
        if ended:
            self._at_end = True
            if self._gone is not None:
                self._gone.cancel()
        if self._receiver is not None:
            wake(self._receiver, self)

    async def _wait_by_trio(self, idle: bool) -> None:
        while True:
            try:
                return await wait_readable(self._fd)
            except trio.ClosedResourceError:
                if self.is_closed:
                    raise trio.ClosedResourceError("another task closed this connection") from None
                if idle and self.is_over:
                    if self.has_input():
                        return None
                    self.note_wait_end(idle=True)
                    raise Interrupted from None
                # Woken for another task: `notify_closing` wakes all waiters of the socket.

    def release(self) -> EpollReader | None:
        """Give the descriptor up, for another wire to take it over; return the epoll reader."""
        if self._watched and self._epoll_reader is not None:
            self._watched = False
            self._epoll_reader.remove(self._fd, self)
        return self._epoll_reader

    def _leave_epoll_reader(self) -> None:
        """The descriptor is about to be closed."""
        if self._epoll_reader is not None:
            self._watched = False
            if self._sock.fileno() == self._fd:
                self._epoll_reader.forget(self._fd, self)
            else:
                self._epoll_reader.remove(self._fd, self)  # other code has detached it from its socket

    def _wake_reader(self) -> None:
        """Wake the task that waits for input, though none may have arrived."""
        if self._receiver is not None:
            wake(self._receiver, self)
        elif self._receiving:
            notify_closing(self._fd)

    def interrupt(self) -> None:
        """End the idle wait that goes on now, and at once each that begins later without input at hand."""
        self._interrupted = True
        # Only a task in an idle wait need be woken, and not one that input is about to wake.
        if self._receiving and not self.is_closed and self.entry.idle_since != NEVER and not self.has_input():
            self._wake_reader()

    def note_wait_end(self, *, idle: bool) -> None:
        """A wait for the peer has been ended from this side."""
        self._wait_end = (self.received, self.sent, idle)

    @property
    def ended_idle(self) -> bool:
        """Whether the last thing that happened here is that an idle wait was ended from this side."""
        return self._wait_end == (self.received, self.sent, True)

    @property
    def ended_waiting(self) -> bool:
        """The same of any wait for the peer."""
        return self._wait_end is not None and self._wait_end[:2] == (self.received, self.sent)

    def expire(self) -> None:
        """End the idle wait that goes on now: it took too long. Until something comes, others end at once."""
        self._expired_at = self.received
        if self._receiving and not self.is_closed and self.entry.idle_since != NEVER:
            self._wake_reader()

    @property
    def is_interrupted(self) -> bool:
        """Whether `interrupt()` was called."""
        return self._interrupted

    @property
    def has_expired(self) -> bool:
        """Whether an idle wait was ended by `expire()`, and nothing has come since."""
        return self._expired_at == self.received

    @property
    def is_over(self) -> bool:
        """Whether an idle wait that begins now ends at once, unless there is input."""
        return self._interrupted or self._expired_at == self.received

    async def wait_request(self) -> bytes | None:
        """Wait, idle, for input, and take nothing: None when there is some, b"" at the end of the stream."""
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this connection")
        await checkpoint()
        while True:
            if self.is_closed:
                raise trio.ClosedResourceError("this connection is closed")
            try:
                return None if self._peek() else b""
            except BlockingIOError:
                await self._wait_input(True)
            except OSError as error:
                self._fail(error)

    async def wait_input(self) -> None:
        """Return when there is something to receive, if only the end of the stream; it stays where it is. A
        checkpoint.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this connection")
        self._receiving = True
        try:
            await self._wait_by_trio(False)
        except trio.Cancelled:
            self.note_wait_end(idle=False)
            raise
        finally:
            self._receiving = False

    def has_input(self) -> bool:
        """Whether a receive would find bytes, the end of the stream or an error without waiting. Takes none
        of them: a recv, even with MSG_PEEK, would take the error, and the next one find a proper end.
        """
        fd = self._sock.fileno()
        if fd < 0:
            return True  # closed, here or by other code
        if not hasattr(select, "poll"):
            return bool(select.select([fd], [], [], 0)[0])
        look = select.poll()
        look.register(fd, select.POLLIN)
        return bool(look.poll(0))

    def _peek(self) -> bytes:
        return socket.socket.recv(self._sock, 1, socket.MSG_PEEK)

    def _fail(self, error: OSError) -> NoReturn:
        """The one place where the system's errors become trio's."""
        if self.is_closed or error.errno == errno.EBADF:
            raise trio.ClosedResourceError("this connection is closed") from None
        failure = trio.BrokenResourceError(f"the peer went away: {error}")
        try:
            if self.failure is not None:
                raise failure from self.failure  # the other direction has noticed it first
            self.failure = failure
            raise failure from error
        finally:
            del failure  # this frame is in its traceback: a reference cycle
