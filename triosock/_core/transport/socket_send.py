"""The sending half of a socket's wire.

Rules of this file, beside those of `interface.py`:

1. **A receive allows a send of the same size without a checkpoint.** A receive is a checkpoint and gives
   `_credit`, in bytes; while it lasts, a send that the kernel takes as a whole is a cancel point only. So no
   task handles more than RECEIVE_SIZE bytes each way between two checkpoints.
2. **Small answers to a peer that has sent more requests already are gathered** (`gathering`): they are sent
   with the last of them, or by the write batcher in the next pass of trio's loop, whichever is first. Not
   more are gathered than the credit allows.
3. **Answers keep their order.** Everything that sends, ends or closes first sends what was gathered, or waits
   for the task that sends the rest of it (`_pushing`).
4. **An error of the write batcher is raised by the next call**: its send takes the socket's error from the
   kernel, so the error is kept (`_lost`) for the next send or receive.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from trio.lowlevel import checkpoint_if_cancelled, wait_writable

from ..registry.registry import NEVER
from .checkpoints import checkpoint, give_turn
from .interface import RECEIVE_SIZE, SMALL, BytesLike, check_sendable
from .socket_receive import SocketReceiving

if TYPE_CHECKING:
    from .write_batcher import WriteBatcher

Result = TypeVar("Result")

#: The reason for `is_broken_off` while a message, or what was gathered before it, is sent in part: a handler
#: may end without waiting for the task that sends it.
_MIDWAY: Final = "another task was in the middle of a send"


class SocketSending(SocketReceiving):
    """What a `SocketWire` sends, and how it waits for the peer to take it."""

    __slots__ = ()

    sent: int  # declared again for type checkers, since methods of this class set it

    async def send_all(self, data: BytesLike) -> None:
        """Send all of `data`. Cancelled half-way, it leaves a connection that every later send reports as
        broken.
        """
        size = len(data) if type(data) is bytes else check_sendable(data)
        if self._sending or self.is_closed or self._ended or self._send_broken is not None:
            await self._check_send()
        await checkpoint_if_cancelled()
        affordable = SMALL <= self._credit >= size
        if affordable:
            self._credit -= size if size > SMALL else SMALL
            if self.gathering and self._batcher is not None:
                return self._gather(data, self._batcher)
        owed = 0
        if self._gathered is not None:
            owed = len(self._gathered)
            data, self._gathered = self._gathered + data, None
            size += owed
        done = self._send(data) if size else 0
        self.sent += done
        if done != size:
            await self._send_rest(memoryview(data).cast("B"), done, owed)
        elif not affordable:
            await give_turn()
        if self._receiving:
            self._renew_wait()

    def break_off(self, why: str) -> None:
        """Note that something was sent only in part: every later send raises."""
        if self._send_broken is None or self._send_broken is _MIDWAY:
            self._send_broken = why

    def _note_midway(self, is_midway: bool) -> None:
        if self._send_broken is None or self._send_broken is _MIDWAY:
            self._send_broken = _MIDWAY if is_midway else None

    @property
    def is_broken_off(self) -> bool:
        """Whether a send ended half-way, or goes on in another task."""
        return self._send_broken is not None

    def _renew_wait(self) -> None:
        """A send while a task waits for input: the connection is not idle."""
        entry = self.entry
        now = entry.now()
        if entry.idle_since != NEVER:
            entry.idle_since = now
        if entry.receive_since != NEVER:
            entry.receive_since = now

    def has_room(self) -> bool:
        """Whether the kernel would take something now, or say why it never will."""
        if self.is_closed:
            return True
        if not hasattr(select, "poll"):
            return bool(select.select([], [self._fd], [], 0)[1])
        look = select.poll()
        look.register(self._fd, select.POLLOUT)
        return bool(look.poll(0))

    def _gather(self, data: BytesLike, batcher: WriteBatcher) -> None:
        if self._gathered is None:
            self._gathered = bytearray(data)
            batcher.schedule(self)
        else:
            self._gathered += data

    async def _check_send(self) -> None:
        """Wait for the task that sends what was gathered, if there is one; raise if nothing can be
        sent.
        """
        while self._pushing is not None:
            await self._pushing.wait()
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this connection")
        if self.is_closed:
            raise trio.ClosedResourceError("this connection is closed")
        if self._ended:
            raise trio.ClosedResourceError("nothing can be sent after send_eof()")
        if self._send_broken is not None:
            raise trio.BrokenResourceError(self._send_broken) from self.failure

    def _send(self, data: BytesLike) -> int:
        """Pass to the kernel what it takes of `data` now; return the number of bytes, 0 if it takes none."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._fail(error)

    async def _send_rest(self, data: memoryview, done: int, owed: int = 0) -> None:
        """Send what comes after the first `done` bytes; the first `owed` are those of earlier calls."""
        size = len(data)
        try:
            while done < size:
                if self._pushing is None:
                    self._note_midway(done != owed)
                await self._wait_output()
                taken = self._send(data[done:])
                self.sent += taken
                done += taken
            self._note_midway(False)
        except BaseException:
            self._note_midway(False)
            if done < owed and self._batcher is not None and not self.is_closed and self.failure is None:
                # Nothing of this call was sent: the rest of earlier calls goes back to the write batcher.
                self._gather(data[done:owed], self._batcher)
            elif owed < done < size:
                self._send_broken = f"an earlier send_all ended after {done - owed} of {size - owed} bytes"
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

    async def take_turn(self) -> None:
        """Let others run, as a receive does: a checkpoint."""
        self.flush_nowait()  # or what is gathered after the turn could be added, before the flush task runs
        await checkpoint()
        self._credit = RECEIVE_SIZE

    # What was gathered

    @property
    def is_settled(self) -> bool:
        """Whether nothing that was gathered is unsent."""
        return self._gathered is None and self._pushing is None

    def flush_nowait(self) -> bool:
        """Pass to the kernel what it takes of what was gathered; return whether that was all. A failure is
        kept for the next caller.
        """
        if self._gathered is None or self._pushing is not None:
            return True  # nothing is gathered, or another task sends it
        data, self._gathered = self._gathered, None
        try:
            done = self._send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._lose()
            return True
        self.sent += done
        if done == len(data):
            return True
        del data[:done]
        self._gathered = data
        return False

    def _lose(self) -> None:
        self._lost = True
        self._send_broken = "answers that were gathered could not be sent: the peer had gone"

    async def push(self) -> None:
        """Wait until the kernel has taken all of what was gathered, or the peer is gone. Raises nothing but
        cancellation.
        """
        if self._gathered is None or self.is_closed:
            return  # a closed descriptor may have been reused
        data, self._gathered = self._gathered, None
        self._pushing = done = trio.Event()
        try:
            await self._send_rest(memoryview(data), 0)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._lose()
        except BaseException:
            self._send_broken = "an earlier send_all was cancelled"
            raise
        finally:
            self._pushing = None
            done.set()

    async def settle(self) -> None:
        """Return when what was gathered is sent, or lost because the peer is gone. A checkpoint only if it
        must wait.
        """
        while self._pushing is not None:
            await self._pushing.wait()
        if not self.flush_nowait():
            await self.push()

    async def _alone(self, async_fn: Callable[[], Awaitable[Result]]) -> Result:
        self._sending = True  # what another task sends now would stand in the middle of the file
        try:
            return await async_fn()
        finally:
            self._sending = False

    async def send_pieces(self, read: Callable[[], Awaitable[BytesLike]]) -> int:
        """Send what `read` returns until that is nothing; return the number of bytes. It is one message: no
        other task can send meanwhile.
        """
        await self.settle()
        await self._check_send()
        done = 0
        try:
            while piece := await self._alone(read):
                await checkpoint_if_cancelled()
                self._check_descriptor()
                size = check_sendable(piece)
                taken = self._send(piece)
                self.sent += taken
                if taken != size:
                    await self._send_rest(memoryview(piece).cast("B"), taken)
                done += size
                self._note_midway(True)
                if self._receiving:
                    self._renew_wait()
            self._note_midway(False)
        except BaseException:
            if done:
                self.break_off(f"an earlier send_file ended after {done} bytes")
            raise
        return done

    def _check_descriptor(self) -> None:
        # A closed socket raises by itself, but this is a number, which may have been reused.
        if self.is_closed:
            raise trio.ClosedResourceError("another task closed this connection")

    async def send_from(self, descriptor: int, offset: int, count: int, piece: int) -> int:
        """Send `count` bytes of an open file by sendfile(2), `piece` at a time; return how many there were. A
        checkpoint.
        """
        await self.settle()
        await self._check_send()
        await checkpoint_if_cancelled()
        done = 0
        try:
            while done < count:
                self._check_descriptor()
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
                self._note_midway(done < count)
                await self._alone(checkpoint)  # a peer that takes all must not keep others from their turn
            self._note_midway(False)  # also if the file has become shorter
        except BaseException:
            if 0 < done < count:
                self._send_broken = f"an earlier send_file ended after {done} of {count} bytes"
            raise
        await give_turn()
        return done

    async def wait_send_all_might_not_block(self) -> None:
        """Return when the kernel would take at least one byte."""
        await self.settle()
        await self._check_send()
        await checkpoint_if_cancelled()
        await self._wait_output()

    async def send_eof(self) -> None:
        """Shut the sending side down: the peer sees the end of the stream, and can still send."""
        await self.settle()
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
            # The peer has closed or reset first: the next send or receive reports it.
            if error.errno not in (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET):
                raise
