"""Bytes in, bytes out: the one place that knows what a connection is made of.

`SocketWire` is the fast path: a non-blocking socket of the standard library, whose system calls are made
directly, and whose task sleeps in trio's `wait_readable` or `wait_writable` only when the kernel says that it
must. Two files further on give TLS and any other `trio.abc.Stream` the same shape.

Rules of this file:

1. **Every call is a checkpoint, and only one when it need not wait.** A read that found fewer bytes than it
   asked for has emptied the socket, so the next read goes to sleep straight away: one checkpoint, and no
   system call that fails.
2. **A cancelled read has taken nothing.** No await stands between the `recv` that succeeds and the return of
   its bytes.
3. **A cancelled send is remembered.** How much of it the kernel has taken is known to nobody but us: the next
   send raises, rather than to continue the stream in the wrong place.
4. **An idle wait can be ended from outside** without a scope around it: `interrupt()` makes the kernel's
   waiters of this socket wake up (`trio.lowlevel.notify_closing`, though nothing is closed), and they find
   out why.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, TypeAlias

import trio
from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    notify_closing,
    wait_readable,
    wait_writable,
)

from .roster import NEVER

if TYPE_CHECKING:
    from .roster import Entry

BytesLike: TypeAlias = bytes | bytearray | memoryview

#: As much as one `recv` asks for when the caller does not say: the default of trio's SocketStream.
RECEIVE_SIZE: Final = 65_536


class Interrupted(Exception):
    """An idle wait was ended by `interrupt()`. Never leaves the core."""


class Wire(Protocol):
    """What a connection needs of whatever carries its bytes. The rules are at the top of this file."""

    #: Whether the stream can end in one direction (TCP and Unix sockets can, TLS cannot).
    can_half_close: bool
    received: int
    sent: int
    is_closed: bool

    @property
    def transport(self) -> socket.socket | trio.abc.Stream:
        """What carries the bytes."""

    async def receive_some(self, max_bytes: int | None = None, *, idle: bool = False) -> bytes:
        """Return some bytes, or none at the end of the stream. `idle`: raise Interrupted if `interrupt()`
        ends the wait.
        """

    async def send_all(self, data: BytesLike) -> None:
        """Send all of it."""

    async def wait_send_all_might_not_block(self) -> None:
        """Return when the peer may take more."""

    async def send_eof(self) -> None:
        """End the stream in this direction."""

    def interrupt(self) -> None:
        """End the idle wait that goes on now, and at once each that begins later without input at hand."""

    @property
    def is_interrupted(self) -> bool:
        """Whether `interrupt()` was called."""

    def has_input(self) -> bool:
        """Whether a receive would find something without waiting."""

    async def say_goodbye(self) -> None:
        """Tell the peer that nothing more will come, and wait until it has said so too; what it still sends
        is thrown away.
        """

    def close_now(self, *, reset: bool = False) -> None:
        """Close without a word, or (`reset`) with a reset, so that the peer knows that it was no proper
        end.
        """

    async def aclose_now(self) -> None:
        """Close without a word and without waiting, cancelled or not. Not a checkpoint."""


def check_receive_size(max_bytes: object) -> int:
    """Return `max_bytes` if it is an int from 1 on, and the default for None; TypeError or ValueError
    otherwise.
    """
    if max_bytes is None:
        return RECEIVE_SIZE
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int):
        raise TypeError(f"max_bytes must be an int from 1 on, or None, not {max_bytes!r}")
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be from 1 on, not {max_bytes}")
    return max_bytes


def check_sendable(data: object) -> None:
    """TypeError, with a hint for a str, unless `data` is bytes, a bytearray or a memoryview."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        hint = "; a str needs .encode()" if isinstance(data, str) else ""
        raise TypeError(f"data must be bytes, a bytearray or a memoryview, not {type(data).__name__}{hint}")


class SocketWire:
    """A connected, non-blocking stream socket of the standard library, and the entry whose waits it
    records.
    """

    can_half_close = True

    __slots__ = (
        "_emptied",
        "_ended",
        "_fd",
        "_interrupted",
        "_receiving",
        "_send_broken",
        "_sending",
        "_sock",
        "entry",
        "failure",
        "is_closed",
        "received",
        "sent",
    )

    def __init__(self, sock: socket.socket, entry: Entry) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self.entry: Entry = entry
        self.received: int = 0
        self.sent: int = 0
        self.is_closed: bool = False
        self._receiving = False
        self._sending = False
        self._interrupted = False
        self._send_broken: str | None = None
        self._ended = False
        #: What was raised first because the peer is gone; the cause of all that was raised later.
        self.failure: trio.BrokenResourceError | None = None
        #: The last read got less than it asked for: the next one has to wait.
        self._emptied = False

    @property
    def transport(self) -> socket.socket:
        """The socket."""
        return self._sock

    # Receiving

    async def receive_some(self, max_bytes: int | None = None, *, idle: bool = False) -> bytes:
        """Return what is there, up to `max_bytes`; wait if there is nothing; b"" at the end of the stream."""
        size = check_receive_size(max_bytes)
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this connection")
        if self.is_closed:
            # Before any wait: its descriptor may be somebody else's by now.
            raise trio.ClosedResourceError("this connection is closed")
        if self._emptied and not (idle and self._interrupted):
            await self._wait_input(idle)
        else:
            await checkpoint()
        while True:
            if self.is_closed:
                raise trio.ClosedResourceError("this connection is closed")
            try:
                data = self._recv(size)
            except BlockingIOError:
                await self._wait_input(idle)
            except OSError as error:
                self._fail(error)
            else:
                self._emptied = len(data) < size
                self.received += len(data)
                return data

    def _recv(self, size: int) -> bytes:
        return self._sock.recv(size)

    async def _wait_input(self, idle: bool) -> None:
        if idle and self._interrupted:
            await checkpoint_if_cancelled()
            raise Interrupted
        if self._receiving:  # two began in one and the same moment
            raise trio.BusyResourceError("another task is receiving from this connection")
        entry = self.entry
        self._receiving = True
        now = trio.current_time()
        if idle:
            entry.idle_since = now
        else:
            entry.receive_since = now
        try:
            while True:
                try:
                    return await wait_readable(self._fd)
                except trio.ClosedResourceError:
                    if self.is_closed:
                        raise trio.ClosedResourceError("another task closed this connection") from None
                    if idle and self._interrupted:
                        raise Interrupted from None
                    # Woken for somebody else's sake: see rule 4.
        finally:
            self._receiving = False
            if idle:
                entry.idle_since = NEVER
            else:
                entry.receive_since = NEVER

    def interrupt(self) -> None:
        """End the idle wait that goes on now, and at once each that begins later without input at hand."""
        self._interrupted = True
        # Only a task in an idle wait need be woken, and not one that input is about to wake.
        if self._receiving and not self.is_closed and self.entry.idle_since != NEVER and not self.has_input():
            notify_closing(self._fd)

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
        check_sendable(data)
        self._check_send()
        await checkpoint_if_cancelled()
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        done = self._send(data) if size else 0
        self.sent += done
        if done == size:
            await cancel_shielded_checkpoint()
        else:
            await self._send_rest(memoryview(data).cast("B"), done)

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
        self.entry.send_since = trio.current_time()
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
        await cancel_shielded_checkpoint()
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
        notify_closing(self._fd)
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
