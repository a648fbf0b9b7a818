"""The wire for any trio stream: memory, TLS over memory, a user's own.

Such a stream cannot be inspected or woken from outside, so here an idle wait is a cancel scope: slower than
on a socket, and with the same behaviour but for one exception. Whether a request had arrived *before* the
drain can only be known of a stream that has a method `has_input() -> bool`, as those of `triosock.testing`
have. And the progress of a send is seen by the piece, not by the byte: the timeout for it counts from the
last `PIECE` that the stream took.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from ..registry.registry import NEVER
from .interface import BytesLike, Interrupted, check_receive_size, check_sendable

if TYPE_CHECKING:
    from ..registry.registry import Entry

#: How much a stream is given to send at once: one record of TLS (RFC 8446, 5.1), into which SSLStream would
#: cut it anyhow.
PIECE: Final = 16_384


class StreamWire:
    """Carries the bytes of a connection over `stream`; the rules are those of `Wire`."""

    __slots__ = (
        "_expired_at",
        "_idle_scope",
        "_in_message",
        "_interrupted",
        "_receiving",
        "_send_broken",
        "_stream",
        "_wait_end",
        "can_half_close",
        "entry",
        "failure",
        "gathering",
        "input_ended",
        "is_closed",
        "just_begun",
        "received",
        "sent",
    )

    def __init__(self, stream: trio.abc.Stream, entry: Entry) -> None:
        self._stream = stream
        self.input_ended: bool = False  # after its end a stream is not read again
        self.gathering: bool = False  # makes no difference here, nor does the next
        self.just_begun: bool = False
        self.can_half_close: bool = isinstance(stream, trio.abc.HalfCloseableStream)
        self.entry: Entry = entry
        self.received: int = 0
        self.sent: int = 0
        self.is_closed: bool = False
        self.failure: trio.BrokenResourceError | None = None
        self._send_broken: str | None = None
        self._in_message = False
        #: How much had been received and sent when a wait for the peer was ended from this side.
        self._wait_end: tuple[int, int] | None = None
        self._interrupted = False
        self._expired_at = -1
        self._receiving = False
        self._idle_scope: trio.CancelScope | None = None

    async def take_turn(self) -> None:
        """Let others run: a checkpoint."""
        await trio.lowlevel.checkpoint()

    @property
    def transport(self) -> trio.abc.Stream:
        """The stream."""
        return self._stream

    async def receive_some(
        self, max_bytes: int | None = None, *, idle: bool = False, iterating: bool = False
    ) -> bytes:
        """Return some bytes, or none at the end of the stream. `idle`: raise Interrupted if `interrupt()`
        ends the wait. `iterating`: raise StopAsyncIteration at the end of the stream.
        """
        check_receive_size(max_bytes)
        # Before `idle_since` and `receive_since` are set, which are the first task's.
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this connection")
        self._receiving = True
        try:
            data = await (self._receive_idle(max_bytes) if idle else self._receive(max_bytes))
        except trio.Cancelled:
            self.note_wait_end(idle=idle)
            raise
        except trio.BrokenResourceError as error:
            self.failure = self.failure or error
            raise
        finally:
            self._receiving = False
        if iterating and not data:
            raise StopAsyncIteration
        self.received += len(data)
        return bytes(data)

    async def _receive(self, max_bytes: int | None) -> bytes | bytearray:
        entry = self.entry
        entry.receive_since = trio.current_time()
        try:
            return await self._stream.receive_some(max_bytes)
        finally:
            entry.receive_since = NEVER

    async def _receive_idle(self, max_bytes: int | None) -> bytes | bytearray:
        if self.is_over and not self.has_input():
            await trio.lowlevel.checkpoint_if_cancelled()
            raise Interrupted
        entry = self.entry
        entry.idle_since = trio.current_time()
        try:
            with trio.CancelScope() as self._idle_scope:
                return await self._stream.receive_some(max_bytes)
        finally:
            self._idle_scope = None
            entry.idle_since = NEVER
        raise Interrupted

    def interrupt(self) -> None:
        """End the idle wait that goes on now, and at once each that begins later without input at hand."""
        self._interrupted = True
        if self._idle_scope is not None and not self.has_input():
            self._idle_scope.cancel(reason="triosock: end of an idle wait")

    def note_wait_end(self, *, idle: bool) -> None:
        """A wait for the peer has been ended from this side; whether it was idle makes no difference here."""
        self._wait_end = (self.received, self.sent)

    @property
    def ended_waiting(self) -> bool:
        """Whether the last thing that happened here is that a wait for the peer was ended from this side."""
        return self._wait_end == (self.received, self.sent)

    def expire(self) -> None:
        """End the idle wait that goes on now: it took too long. Until something comes, others end at once."""
        self._expired_at = self.received
        if self._idle_scope is not None and not self.has_input():
            self._idle_scope.cancel(reason="triosock: end of an idle wait")

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
        """Wait, idle, for input. A stream can only be asked by a receive, so this returns what has come; b""
        at the end of the stream.
        """
        return await self.receive_some(idle=True)

    async def wait_peer_gone(self) -> None:
        """Return when the peer has hung up: when the stream's own method `wait_peer_gone` returns."""
        stream = self._stream
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        wait = getattr(stream, "wait_peer_gone", None)
        if wait is None:
            raise TypeError(
                f"a {type(stream).__name__} cannot tell that its peer has hung up: give it an async "
                "method wait_peer_gone(), or receive from the connection instead"
            )
        await wait()

    def has_input(self) -> bool | None:
        """Whether a receive would find something without waiting; None if the stream cannot tell."""
        look = getattr(self._stream, "has_input", None)
        return None if look is None else bool(look())

    def has_room(self) -> bool | None:
        """Whether something could be sent without waiting; None if the stream cannot tell."""
        look = getattr(self._stream, "has_room", None)
        return None if look is None else bool(look())

    async def send_all(self, data: BytesLike) -> None:
        """Send all of `data`. Cancelled, it leaves a connection that every later send reports as broken."""
        check_sendable(data)
        self._check_send()
        view = memoryview(data).cast("B")
        self._in_message = bool(view)
        try:
            await self._send(view)
        finally:
            self._in_message = False

    def _check_alone(self) -> None:
        if self._in_message or self.entry.send_since != NEVER:
            raise trio.BusyResourceError("another task is sending on this connection")

    def _check_send(self) -> None:
        self._check_alone()
        if self._send_broken is not None and not self.is_closed:
            raise trio.BrokenResourceError(self._send_broken) from self.failure

    async def _send(self, view: memoryview) -> None:
        entry = self.entry
        try:
            # Also once for no data at all: the stream may be closed, and it is a checkpoint.
            for start in range(0, len(view) or 1, PIECE):
                piece = view[start : start + PIECE]
                entry.send_since = trio.current_time()
                await self._stream.send_all(piece)
                self.sent += len(piece)
                if self._receiving:
                    self._renew_wait()
        except trio.Cancelled:
            # It is unknown how much of it was sent.
            self._send_broken = "an earlier send_all was cancelled"
            raise
        except trio.BrokenResourceError as error:
            self.failure = self.failure or error
            raise
        finally:
            entry.send_since = NEVER

    async def send_pieces(self, read: Callable[[], Awaitable[BytesLike]]) -> int:
        """Send what `read` returns until that is nothing; return the number of bytes. It is one message: no
        other task can send meanwhile.
        """
        self._check_send()
        done = 0
        self._in_message = True
        try:
            while piece := await read():
                size = check_sendable(piece)
                await self._send(memoryview(piece).cast("B"))
                done += size
        except BaseException:
            if done:
                self.break_off(f"an earlier send_file ended after {done} bytes")
            raise
        finally:
            self._in_message = False
        return done

    def _renew_wait(self) -> None:
        """A send while a task waits for input: the connection is not idle."""
        entry = self.entry
        now = trio.current_time()
        if entry.idle_since != NEVER:
            entry.idle_since = now
        if entry.receive_since != NEVER:
            entry.receive_since = now

    async def wait_send_all_might_not_block(self) -> None:
        """Return when the stream may take more."""
        self._check_alone()
        entry = self.entry
        entry.send_since = trio.current_time()
        try:
            await self._stream.wait_send_all_might_not_block()
        except trio.BrokenResourceError as error:
            self.failure = self.failure or error
            raise
        finally:
            entry.send_since = NEVER

    async def send_eof(self) -> None:
        """End the stream in this direction, if it can be ended in one."""
        assert isinstance(self._stream, trio.abc.HalfCloseableStream)
        self._check_alone()
        try:
            await self._stream.send_eof()
        except trio.BrokenResourceError as error:
            self.failure = self.failure or error
            raise

    async def linger(self) -> None:
        """End the stream, discard input until the peer has ended it, close. The caller bounds the time."""
        try:
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
                while await self._stream.receive_some():
                    pass
            await self._stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            pass  # the peer or the handler has closed it, or a task still uses it

    def close_now(self, *, reset: bool = False) -> None:
        """Close without a close_notify, if the stream has a synchronous way to; with a reset, if it has a
        method `abort()` for that. Raises: TypeError if it cannot be closed synchronously.
        """
        if not self.is_closed:
            _close_at_once(self._stream, reset)
            self.is_closed = True

    def break_off(self, why: str) -> None:
        """Note that something was sent only in part: every later send raises."""
        self._send_broken = self._send_broken or why

    @property
    def is_broken_off(self) -> bool:
        """Whether a send ended half-way, or goes on in another task."""
        return self._send_broken is not None or self._in_message

    async def aclose_now(self, *, reset: bool = False) -> None:
        """Close without a close_notify and without waiting, cancelled or not; with a reset, if the stream has
        a way to.
        """
        if not self.is_closed:
            self.is_closed = True
            if reset:
                _reset(self._stream)
            # aclose_forcefully() does not wait for the peer, so the shield cannot be prolonged by it.
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)


def _close_at_once(stream: object, reset: bool) -> None:
    """Close what has a plain `close()`, looking through trio's own wrappers."""
    match stream:
        case trio.SSLStream(transport_stream=inner):
            _close_at_once(inner, reset)
        case trio.StapledStream(send_stream=one, receive_stream=other):
            _close_at_once(one, reset)
            _close_at_once(other, reset)
        case trio.SocketStream(socket=sock):
            sock.close()
        case _:
            close = (getattr(stream, "abort", None) if reset else None) or getattr(stream, "close", None)
            if close is None:
                raise TypeError(
                    f"a {type(stream).__name__} cannot be closed at once: it has no method close()"
                )
            close()


def _reset(stream: object) -> None:
    """Have a stream's end be a reset, if it or what it wraps can."""
    match stream:
        case trio.SSLStream(transport_stream=inner) | trio.StapledStream(send_stream=inner):
            _reset(inner)
        case trio.SocketStream(socket=sock):
            with contextlib.suppress(OSError):  # the handler has closed it, or taken it away
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        case _:
            abort = getattr(stream, "abort", None)
            if abort is not None:
                abort()
