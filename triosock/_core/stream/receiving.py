"""The receiving methods of a connection.

The invariants, in addition to those of `request_state.py`:

1. **A byte is on the wire, in the buffer, or was returned.** No receiving method holds bytes across an await,
   so a cancellation loses none, and any method may follow any other.
2. **An empty buffer adds no layer**: `receive_some` is then the coroutine of the wire.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any

import attrs
import trio

from ..model.errors import Incomplete, PeerError
from ..model.trio_thread import check_trio_thread
from ..protocols.framing import DEFAULT_MAX_BYTES, Framer, check_delimiter, check_framer, check_max_bytes
from ..transport.interface import check_receive_size
from .messages import Frames, Lines
from .request_state import RequestState


class Receiving(RequestState):
    """The receiving methods of `Connection`, which is the class that users see."""

    __slots__ = ()

    # Not `async def`, which would be one more coroutine for each call. Type checkers tell the two apart.
    def receive_some(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, max_bytes: int | None = None
    ) -> Coroutine[Any, Any, bytes]:
        """Wait for some bytes and return them; b"" at the end of the stream.

        Args: `max_bytes`, from 1 on; None lets the connection choose.

        Drain: does not end it, unless inside `with conn.idle():`. Cancellation: loses nothing.
        """
        if self._buffer is not None and self._buffer.data:
            return self._receive_buffered(max_bytes, False)
        if self._idle_block is not None:
            return self._receive_request(max_bytes, False)
        return self.wire.receive_some(max_bytes)

    def __anext__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
    ) -> Coroutine[Any, Any, bytes]:  # as above, so the wire raises StopAsyncIteration
        if self._buffer is not None and self._buffer.data:
            return self._receive_buffered(None, True)
        if self._idle_block is not None:
            return self._receive_request(None, True)
        return self.wire.receive_some(iterating=True)

    async def _receive_request(self, max_bytes: int | None, iterating: bool) -> bytes:
        data = await self.wire.receive_some(max_bytes, iterating=iterating)
        if data:
            self.note_first_bytes()
        return data

    async def _receive_buffered(self, max_bytes: int | None, iterating: bool) -> bytes:
        size = check_receive_size(max_bytes)
        await trio.lowlevel.checkpoint()
        if not self.buffer:  # another task has changed the buffer
            return await self.wire.receive_some(max_bytes, iterating=iterating)
        return self.buffer.take(size)

    async def receive_exactly(self, size: int) -> bytes:
        """Wait for `size` bytes (0 or more) and return them.

        Raises: Incomplete if the stream ends before that. Drain: does not end it. Cancellation: loses
        nothing.
        """
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"size must be an int from 0 on, not {size!r}")
        if size < 0:
            raise ValueError(f"size must be from 0 on, not {size}")
        buffer = self.buffer
        if len(buffer) >= size:
            await trio.lowlevel.checkpoint()
        while len(buffer) < size:
            await self._receive_more(f"{size} bytes")
        return buffer.take(size)

    async def receive_until(self, delimiter: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
        """Wait for `delimiter`, and return all bytes up to and including it.

        Raises: FrameTooLarge if that is more than `max_bytes`; Incomplete if the stream ends before that.
        Drain: does not end it.
        Cancellation: loses nothing.
        """
        delimiter, max_bytes = check_delimiter(delimiter), check_max_bytes(max_bytes)
        await trio.lowlevel.checkpoint()
        while True:
            try:
                taken = self.buffer.take_through(delimiter, max_bytes, "message")
            except PeerError as error:
                error._of(self)
                raise
            if taken is not None:
                return taken
            await self._receive_more(f"a message that ends with {delimiter!r}")

    async def _receive_more(self, what: str) -> None:
        data = await self.wire.receive_some()
        if not data:
            raise Incomplete(what, bytes(self.buffer.data))._of(self)
        self.buffer.feed(data)
        self.note_first_bytes()

    async def wait_request(self) -> bool:
        """Wait for the first byte of the next request, and leave it to the next receiving method; for
        protocols that do not read by `lines()` or `frames()`::

            while await conn.wait_request():
                head = await conn.receive_until(b"\\r\\n\\r\\n")
                ...

        The call ends a request that is in progress. The wait is idle; the next request begins with its first
        byte, under `Timeouts.request`.

        Returns: True when the byte has arrived; False at the end of the stream, after `Timeouts.idle`, or in
        a drain. Input that arrived before the drain still gives True.

        Raises: trio.BrokenResourceError on a reset; trio.ClosedResourceError; trio.BusyResourceError;
        RateExceeded for a request that comes too early, if `Limits.request_overflow` is "reject".

        Always a checkpoint. Cancellation: loses nothing. Drain: ends the wait.
        """
        return await self._next_request()

    async def wait_peer_gone(self) -> None:
        """Return when the peer has hung up: it has ended its stream, closed, or reset the connection. What it
        sent before can still be received. For handlers that wait for something else meanwhile::

            async def cancel_if_gone(conn, scope):
                await conn.wait_peer_gone()
                scope.cancel()

        A peer that has only half-closed (`shutdown(SHUT_WR)`, `nc -N`) and still reads counts as gone: from
        this side the two look the same (tcp(7)). Under TLS the connection underneath counts. A peer that
        vanishes without closing is noticed only by TCP keepalive, or by sending to it.

        Another task may receive or send at the same time.

        Raises: trio.ClosedResourceError if this side closes; trio.BusyResourceError for a second waiting
        task; TypeError where it cannot be told (systems without EPOLLRDHUP, streams without a method
        `wait_peer_gone`).

        A checkpoint. Cancellation: cancels only the wait. Drain: does not end it.
        """
        while True:
            wire = self.wire
            try:
                return await wire.wait_peer_gone()
            except trio.ClosedResourceError:
                if wire is self.wire:
                    raise
            # TLS has been started meanwhile: wait for the same peer again.

    def set_timeouts(
        self,
        *,
        idle: float | None = None,
        request: float | None = None,
        send: float | None = None,
        close: float | None = None,
    ) -> None:
        """Give this connection timeouts of its own, for instance after a login or an upgrade. They apply at
        once, also to waits that have begun; `conn.timeouts` is the result. A `request()` block that has begun
        keeps its deadline.

        Args: in seconds above 0 (`close` from 0 on), `math.inf` for no limit, None for no change; see
        `Timeouts`.

        Raises: TypeError, ValueError, which name the argument; RuntimeError outside the trio thread.
        Synchronous.
        """
        check_trio_thread("set_timeouts", "conn")
        given = {"idle": idle, "request": request, "send": send, "close": close}
        changes = {name: value for name, value in given.items() if value is not None}
        self.change_timeouts(attrs.evolve(self.timeouts, **changes))

    def lines(self, *, max_bytes: int = DEFAULT_MAX_BYTES) -> AsyncIterator[bytes]:
        r"""Return an async iterator over the lines that the peer sends, each with its ``\n``; the last one
        may lack it.

        Each line is a request: the wait for its first byte is idle, and from that byte to the next iteration
        `Timeouts.request` applies. A line that is in the buffer already is returned without a checkpoint, at
        most 16 times in a row.

        Raises, from the loop: FrameTooLarge for a line of more than `max_bytes`, its end included;
        trio.BrokenResourceError; RateExceeded for a line that comes too early, if `Limits.request_overflow`
        is "reject": the line can still be received then.

        End of stream: ends the loop. Drain: ends the loop if the next line has not begun; lines that had
        arrived are still returned.
        Cancellation: loses nothing.
        """
        return Lines(self, check_max_bytes(max_bytes))

    def frames(self, framer: Framer) -> AsyncIterator[bytes]:
        """Return an async iterator over the payloads that `framer` splits off: `LengthPrefixed`,
        `Netstrings`, `Delimited`, `FixedSize`.

        All else is as for `lines()`, but a stream that ends inside a frame raises Incomplete.
        """
        return Frames(self, check_framer(framer))
