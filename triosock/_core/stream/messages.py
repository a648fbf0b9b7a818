"""Reading message by message: `async for line in conn.lines()`, `async for frame in conn.frames(framer)`.

The rules, in addition to those of `request_state.py`:

1. A message that is complete in the buffer is returned without waiting. After `IN_A_ROW` of them there is a
   checkpoint, so that a peer that sends many at once does not starve other tasks.
2. A message is taken off the buffer only after the last await before its return.
3. The iterators are classes and not async generators: a generator that is not closed keeps its cancel scopes
   and `finally` blocks open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, final

from ..model.errors import FrameTooLarge, Incomplete, PeerError
from ..model.misuse import write
from ..protocols.framing import Buffer, Framer
from ..registry.registry import NEVER
from ..transport.interface import Interrupted
from .request_state import RequestState

if TYPE_CHECKING:
    from typing import Self

#: Messages in a row out of the buffer before a checkpoint.
IN_A_ROW = 16


class _Messages(AsyncIterator[bytes]):
    """The loop that `lines()` and `frames()` share."""

    __slots__ = ("_credit", "_state")

    def __init__(self, state: RequestState) -> None:
        self._state = state
        self._credit = IN_A_ROW

    def __aiter__(self) -> Self:
        return self

    async def _take_turn(self) -> None:
        await self._state.wire.take_turn()
        self._credit = IN_A_ROW

    async def __anext__(self) -> bytes:
        """Return the next message.

        One coroutine and not several: this loop is where most servers spend their time.
        """
        state = self._state
        buffer = state.buffer
        if state.meter is None:
            state.end_request()
        elif not await state._next_request():
            raise StopAsyncIteration
        try:
            if buffer.data:
                if self._credit <= 0:
                    await self._take_turn()
                if (message := self._take_buffered(state, buffer)) is not None:
                    return message
            self._credit = IN_A_ROW - 1
            while True:
                # With a meter the request has begun, though a socket still has its first bytes.
                idle = not buffer.data and state.meter is None
                if not (data := await state.wire.receive_some(idle=idle)):
                    return self._at_end(buffer)
                if idle:
                    state.begin_request()
                if (message := self._first(buffer, data)) is not None:
                    state.wire.gathering = bool(buffer.data) and self._has_next(buffer)
                    return message
                del data  # it is in the buffer now; the variable would keep a second copy during the wait
        except Interrupted:
            raise StopAsyncIteration from None
        except PeerError as error:
            error._of(state)
            raise

    def _take_buffered(self, state: RequestState, buffer: Buffer) -> bytes | None:
        """Return the next message if it is complete in the buffer. Its request has begun in either case."""
        message = self._split(buffer)
        if state.entry.request_since == NEVER:
            state.begin_request()
        if message is not None:
            self._credit -= 1
            state.wire.gathering = self._has_next(buffer)
        return message

    def _split(self, buffer: Buffer) -> bytes | None:
        raise NotImplementedError

    def _has_next(self, buffer: Buffer) -> bool:
        """Whether another message is certainly in the buffer; False if that is not known."""
        return False

    def _first(self, buffer: Buffer, data: bytes) -> bytes | None:
        """Put received bytes into the buffer; return the first message if it is complete."""
        buffer.feed(data)
        return self._split(buffer)

    def _at_end(self, buffer: Buffer) -> bytes:
        """The stream has ended: return the last message, or raise StopAsyncIteration or Incomplete."""
        raise NotImplementedError


@final
class Lines(_Messages):
    """The iterator of `conn.lines()`."""

    __slots__ = ("_max_bytes",)

    if not TYPE_CHECKING:  # see misuse.py
        __iter__ = write("async for line in conn.lines():")
        __await__ = write("async for line in conn.lines():")

    def __init__(self, state: RequestState, max_bytes: int) -> None:
        super().__init__(state)
        self._max_bytes = max_bytes

    def _split(self, buffer: Buffer) -> bytes | None:
        return buffer.take_through(b"\n", self._max_bytes, "line")

    def _has_next(self, buffer: Buffer) -> bool:
        return buffer.holds(b"\n")

    def _first(self, buffer: Buffer, data: bytes) -> bytes | None:
        # One packet with one line, the most frequent case, needs no buffer.
        if not buffer.data and data.find(b"\n") == len(data) - 1 and len(data) <= self._max_bytes:
            return data
        return super()._first(buffer, data)

    def _at_end(self, buffer: Buffer) -> bytes:
        if not buffer:
            raise StopAsyncIteration
        if len(buffer) > self._max_bytes:
            raise FrameTooLarge("line", self._max_bytes)
        return buffer.take(len(buffer))


@final
class Frames(_Messages):
    """The iterator of `conn.frames(framer)`."""

    __slots__ = ("_framer",)

    if not TYPE_CHECKING:  # see misuse.py
        __iter__ = write("async for frame in conn.frames(framer):")
        __await__ = write("async for frame in conn.frames(framer):")

    def __init__(self, state: RequestState, framer: Framer) -> None:
        super().__init__(state)
        self._framer = framer

    def _split(self, buffer: Buffer) -> bytes | None:
        return self._framer.split(buffer)

    def _at_end(self, buffer: Buffer) -> bytes:
        if not buffer:
            raise StopAsyncIteration
        raise Incomplete("a frame", bytes(buffer.data))
