"""The wire of a socket: the fast path.

A non-blocking socket of the standard library, whose system calls are made directly. Its task sleeps only when
the kernel says that it must: in the server's pump (Linux), or in trio's `wait_readable`.

Rules of this file, beside those of `wire.py`:

1. **One checkpoint for each exchange, and only one.** A read that has to wait gives others their turn by
   that; a read that found fewer bytes than it asked for has emptied the socket, so the next one goes to sleep
   straight away, without a system call that fails. A read has given others their turn, and earns `_credit`,
   in bytes: sends that the kernel takes as a whole are a cancel point only as long as it lasts. As nobody
   earns any without a turn, no task does more between two turns than RECEIVE_SIZE bytes each way.
2. **A cancelled read has taken nothing.** No await stands between the `recv` that succeeds and the return of
   its bytes.
3. **`_quiet` means: whatever comes now wakes a sleeper.** Set only by a read that emptied the socket, and
   taken back by the pump: see the invariants there. Once the stream's end has been told (`_at_end`), it is
   never set again.
4. **An idle wait can be ended from outside** without a scope around it: `interrupt()` wakes the sleeper, who
   finds out why.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, NoReturn

import trio
from trio.lowlevel import (
    Task,
    checkpoint_if_cancelled,
    current_task,
    notify_closing,
    wait_readable,
    wait_writable,
)

from .roster import NEVER
from .traps import checkpoint, give_turn, sleep, wake
from .wire import RECEIVE_SIZE, SMALL, BytesLike, Interrupted, check_receive_size, check_sendable

if TYPE_CHECKING:
    from .pump import Pump
    from .roster import Entry


class SocketWire:
    """A connected, non-blocking stream socket of the standard library, and the entry whose waits it
    records.
    """

    can_half_close = True

    __slots__ = (
        "_at_end", "_credit", "_ended", "_fd", "_interrupted", "_pump", "_quiet",
        "_receiver", "_receiving", "_send_broken", "_sending", "_sock", "_watched",
        "entry", "failure", "heard_all", "is_closed", "just_begun", "received", "sent",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, entry: Entry, pump: Pump | None = None) -> None:
        self._sock = sock
        self._pump = pump
        self._fd = sock.fileno()
        self.entry: Entry = entry
        self.received: int = 0
        self.sent: int = 0
        self.is_closed: bool = False
        #: Its task has just begun to run: others have had their turn, and the first receive need not give it.
        self.just_begun: bool = False
        self._receiving = False
        self._sending = False
        self._interrupted = False
        self._send_broken: str | None = None
        self._ended = False
        #: What was raised first because the peer is gone; the cause of all that was raised later.
        self.failure: trio.BrokenResourceError | None = None
        #: The last read emptied the socket, and nothing has come since: the next one has to wait.
        self._quiet = False
        #: How many bytes may be sent before others must have had their turn: see rule 1.
        self._credit = 0
        #: The peer's end of stream has been read.
        self.heard_all: bool = False
        #: The pump has seen the end of the stream, or an error.
        self._at_end = False
        #: Whether the pump knows of this socket, and who sleeps until it tells of input.
        self._watched = False
        self._receiver: Task | None = None

    @property
    def transport(self) -> socket.socket:
        """The socket."""
        return self._sock

    # Receiving

    async def receive_some(self, max_bytes: int | None = None, *, idle: bool = False) -> bytes:
        """Return what is there, up to `max_bytes`; wait if there is nothing; b"" at the end of the stream."""
        size = RECEIVE_SIZE if max_bytes is None else check_receive_size(max_bytes)
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this connection")
        if self.is_closed:
            # Before any wait: its descriptor may be somebody else's by now.
            raise trio.ClosedResourceError("this connection is closed")
        if self._quiet and not (idle and self._interrupted):
            await self._wait_input(idle)
        elif self.just_begun:
            self.just_begun = False
            await checkpoint_if_cancelled()
        else:
            await checkpoint()
        while True:
            if self.is_closed:
                raise trio.ClosedResourceError("this connection is closed")
            try:
                data = self._sock.recv(size)
            except BlockingIOError:
                await self._wait_input(idle)
            except OSError as error:
                self._fail(error)
            else:
                # An end is told only once. After that there is always something to read, if only nothing.
                self._quiet = len(data) < size and not self._at_end
                self.heard_all = not data
                self.received += len(data)
                self._credit = RECEIVE_SIZE
                return data

    async def _wait_input(self, idle: bool) -> None:
        """Sleep until something has come since the socket was last found empty."""
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this connection")
        if self._sock.fileno() != self._fd:
            raise trio.ClosedResourceError("somebody has closed this connection's socket")
        if idle and self._interrupted:
            await checkpoint_if_cancelled()
            raise Interrupted
        entry, pump = self.entry, self._pump
        self._receiving = True
        if idle:
            entry.idle_since = entry.now()
        else:
            entry.receive_since = entry.now()
        try:
            if not self._watched:
                if pump is None or not pump.is_worth_it:
                    return await self._wait_without_pump(idle)
                pump.add(self._fd, self)  # tells of what is there, too
                self._watched = True
            self._quiet = not self._at_end
            self._receiver = task = current_task()
            task.custom_sleep_data = self
            await sleep()
            if self.is_closed:
                raise trio.ClosedResourceError("another task closed this connection")
            if self._quiet and idle and self._interrupted:
                raise Interrupted
        finally:
            self._receiving = False
            self._receiver = None
            if idle:
                entry.idle_since = NEVER
            else:
                entry.receive_since = NEVER

    def note_input(self, ended: bool) -> None:
        """The pump says: something has come."""
        self._quiet = False
        if ended:
            self._at_end = True
        if self._receiver is not None:
            wake(self._receiver, self)

    async def _wait_without_pump(self, idle: bool) -> None:
        while True:
            try:
                return await wait_readable(self._fd)
            except trio.ClosedResourceError:
                if self.is_closed:
                    raise trio.ClosedResourceError("another task closed this connection") from None
                if idle and self._interrupted:
                    raise Interrupted from None
                # Woken for somebody else's sake: `notify_closing` wakes all waiters of the socket.

    def release(self) -> Pump | None:
        """Give the descriptor up, for another wire to take it over; return the pump."""
        self._forget()
        return self._pump

    def _forget(self) -> None:
        if self._watched and self._pump is not None:
            self._watched = False
            self._pump.remove(self._fd, self)

    def _rouse(self) -> None:
        """Wake who waits for input, though none may have come."""
        if self._receiver is not None:
            wake(self._receiver, self)
        elif self._receiving:
            notify_closing(self._fd)

    def interrupt(self) -> None:
        """End the idle wait that goes on now, and at once each that begins later without input at hand."""
        self._interrupted = True
        # Only a task in an idle wait need be woken, and not one that input is about to wake.
        if self._receiving and not self.is_closed and self.entry.idle_since != NEVER and not self.has_input():
            self._rouse()

    @property
    def is_interrupted(self) -> bool:
        """Whether `interrupt()` was called."""
        return self._interrupted

    def has_input(self) -> bool:
        """Whether a receive would find bytes, the end of the stream or an error without waiting."""
        try:
            socket.socket.recv(self._sock, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    # Sending

    async def send_all(self, data: BytesLike) -> None:
        """Send all of `data`. Cancelled half-way, it leaves a connection that every later send reports as
        broken.
        """
        if type(data) is not bytes:
            check_sendable(data)
        if self._sending or self.is_closed or self._ended or self._send_broken is not None:
            self._check_send()
        await checkpoint_if_cancelled()
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        done = self._send(data) if size else 0
        self.sent += done
        if done != size:
            await self._send_rest(memoryview(data).cast("B"), done)
        elif size <= self._credit and self._credit >= SMALL:
            self._credit -= size if size > SMALL else SMALL
        else:
            await give_turn()

    def _check_send(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this connection")
        if self.is_closed:
            raise trio.ClosedResourceError("this connection is closed")
        if self._ended:
            raise trio.ClosedResourceError("nothing can be sent after send_eof()")
        if self._send_broken is not None:
            raise trio.BrokenResourceError(self._send_broken)

    def _send(self, data: BytesLike) -> int:
        """Give the kernel what it takes of `data` now: from none to all of it."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._fail(error)

    async def _send_rest(self, data: memoryview, done: int) -> None:
        size = len(data)
        try:
            while done < size:
                await self._wait_output()
                taken = self._send(data[done:])
                self.sent += taken
                done += taken
        except BaseException:
            if 0 < done < size:
                self._send_broken = f"an earlier send_all ended after {done} of {size} bytes"
            raise

    async def _wait_output(self) -> None:
        self._sending = True
        # Begins anew with each piece that the kernel took: the timeout is for a peer that takes nothing.
        self.entry.send_since = self.entry.now()
        try:
            while True:
                try:
                    return await wait_writable(self._fd)
                except trio.ClosedResourceError:
                    if self.is_closed:
                        raise trio.ClosedResourceError("another task closed this connection") from None
                    # `interrupt()` wakes all waiters of the socket; this one has work to finish.
        finally:
            self._sending = False
            self.entry.send_since = NEVER

    async def send_from(self, descriptor: int, offset: int, count: int, piece: int) -> int:
        """Send `count` bytes of an open file by sendfile(2), `piece` at a time; return how many there were. A
        checkpoint.
        """
        self._check_send()
        await checkpoint_if_cancelled()
        done = 0
        try:
            while done < count:
                if self.is_closed:
                    # A closed socket says so itself, but this is a number, and may be another's by now.
                    raise trio.ClosedResourceError("another task closed this connection")
                try:
                    taken = os.sendfile(self._fd, descriptor, offset + done, min(piece, count - done))
                except BlockingIOError:
                    await self._wait_output()
                    continue
                except OSError as error:
                    self._fail(error)
                if not taken:
                    break  # the file has become shorter
                self.sent += taken
                done += taken
                self._sending = True  # what another task sends now would stand in the middle of the file
                try:
                    await checkpoint()  # a peer that takes everything must not keep others from their turn
                finally:
                    self._sending = False
        except BaseException:
            if 0 < done < count:
                self._send_broken = f"an earlier send_file ended after {done} of {count} bytes"
            raise
        await give_turn()
        return done

    async def wait_send_all_might_not_block(self) -> None:
        """Return when the kernel would take at least one byte."""
        self._check_send()
        await checkpoint_if_cancelled()
        await self._wait_output()

    async def send_eof(self) -> None:
        """Shut the sending side down: the peer sees the end of the stream, and can still be heard."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this connection")
        await checkpoint()
        if self.is_closed:
            raise trio.ClosedResourceError("this connection is closed")
        if not self._ended:
            self._ended = True
            self._shutdown_send()

    def _shutdown_send(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            # The peer has gone first. That is for the next call that wants something of it to report.
            if error.errno not in (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET):
                raise

    # Ending

    async def say_goodbye(self) -> None:
        """Half-close, then read and forget until the peer has closed too. The caller bounds the time."""
        if self.heard_all:
            return  # the close itself says goodbye, and destroys no reply: nothing can be unread
        self._say_last_word()
        while not self.is_closed:
            try:
                if not socket.socket.recv(self._sock, RECEIVE_SIZE):
                    return
                await checkpoint()  # a peer that never stops must not keep the others from their turn
            except BlockingIOError:
                await self._wait_input(False)
            except OSError:
                return  # reset: nobody is left to lose anything

    def _say_last_word(self) -> None:
        self._shutdown_send()

    def close_now(self, *, reset: bool = False) -> None:
        """Close the socket; waiting tasks get ClosedResourceError. With `reset` the kernel sends a reset and
        forgets what was unsent.
        """
        if self.is_closed:
            return
        self.is_closed = True
        if self._receiving:
            self._rouse()
        if self._sending:
            notify_closing(self._fd)
        self._forget()
        if reset:
            # l_onoff=1, l_linger=0: socket(7)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    async def aclose_now(self) -> None:
        """The same as `close_now()`."""
        self.close_now()

    def _fail(self, error: OSError) -> NoReturn:
        """The one place where the system's errors become trio's."""
        if self.is_closed or error.errno == errno.EBADF:
            raise trio.ClosedResourceError("this connection is closed") from None
        failure = trio.BrokenResourceError(f"the peer went away: {error}")
        if self.failure is not None:
            raise failure from self.failure  # the other direction has noticed it first
        self.failure = failure
        raise failure from error
