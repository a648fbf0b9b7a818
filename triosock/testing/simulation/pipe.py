"""One direction of a simulated connection: bytes on their way, and bytes that have arrived.

The rules:

1. **Nothing is lost, doubled or put in another order** but by a reset, and a reset is one for both ends.
2. **Nobody has to carry anything**: each piece is due at a time that is known when it is sent, and whoever
   looks takes over what is due by now. What a partition holds back is due when it heals.
3. **A buffer is full of what was sent and not read yet**, on its way or arrived.
4. **Small pieces and buffers grow with what has passed**, so that a megabyte is no million steps: what is
   strange about a byte is strange about the first few.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, final

import attrs
import trio
from trio.lowlevel import ParkingLot

from .journal import Journal
from .link import Link, Terms

#: After so many bytes, as a power of 2, a piece or buffer of one byte has grown to two.
_GROWTH: Final = 7


@final
@attrs.define(eq=False)
class Pipe:
    """One direction. `sent`, `arrived` and `taken` count bytes."""

    name: str
    link: Link
    terms: Terms
    journal: Journal
    ready: bytearray = attrs.field(factory=bytearray)
    flying: deque[tuple[float, bytes]] = attrs.field(factory=deque)
    sent: int = 0
    arrived: int = 0
    taken: int = 0
    #: Without those that were thrown away when the receiving end was closed.
    taken_by_reader: int = 0
    #: When the first byte arrived.
    first_arrival: float = math.inf
    #: How much had come the other way when something was sent last.
    answers_at_put: int = 0
    #: The other direction.
    back: Pipe | None = None
    #: The sender has said that nothing more comes, or has closed.
    is_ended: bool = False
    #: When that is known at the other end; inf as long as it is not so.
    end_due: float = math.inf
    reset_due: float = math.inf
    #: The receiving end was closed.
    is_abandoned: bool = False
    changed: ParkingLot = attrs.field(factory=ParkingLot)
    _last_due: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.link.join(self.changed)

    # The sender's side

    @property
    def room(self) -> int:
        """How many bytes more may be sent now."""
        return self._capacity() - (self.sent - self.taken)

    def room_for(self, size: int) -> int:
        """How many of so many bytes may be sent now: none, as long as there is room for few of them only.

        Otherwise each byte that is read would make one be sent (RFC 9293, 3.8.6.2.1).
        """
        room = self.room
        return room if room >= min(size, (self._capacity() + 1) // 2) else 0

    def _capacity(self) -> int:
        return max(self.terms.buffer, self.sent >> _GROWTH)

    def _piece(self, size: int, passed: int) -> int:
        """How many of so many bytes are one piece, if so many have passed."""
        terms = self.terms
        if size <= 1 or not terms.piece or terms.random is None:
            return size
        return min(size, terms.random.randint(1, max(terms.piece, passed >> _GROWTH)))

    def put(self, data: memoryview) -> None:
        """Send so many bytes, for which there must be room."""
        self.sent += len(data)
        self.answers_at_put = 0 if self.back is None else self.back.sent
        self.journal.note("sent", self.name, len(data))
        if self.is_abandoned:
            self.taken = self.arrived = self.sent
            return
        while data:
            size = self._piece(len(data), self.sent)
            self.flying.append((self._next_due(size), bytes(data[:size])))
            data = data[size:]
        self.changed.unpark_all()

    def _next_due(self, size: int) -> float:
        terms, now = self.terms, trio.current_time()
        delay = terms.seconds
        if terms.jitter and terms.random is not None:
            delay += terms.random.random() * terms.jitter
        self._last_due = max(self._last_due, now + delay)
        if terms.bandwidth < math.inf:
            self._last_due += size / terms.bandwidth
        return self._last_due

    def end(self) -> None:
        """Say that nothing more will come."""
        if not self.is_ended:
            self.is_ended = True
            self.end_due = self._next_due(0)
            self.journal.note("end", self.name)
            self.changed.unpark_all()

    def reset(self, delay: float | None = None) -> None:
        """Break off: what has not been read when that is known at the other end is lost."""
        if self.reset_due == math.inf:
            self.reset_due = trio.current_time() + (self.terms.seconds if delay is None else delay)
            self.journal.note("reset", self.name)
            self.changed.unpark_all()

    # The receiver's side

    def land(self) -> None:
        """Take over what is due by now."""
        if self.link.is_down:
            return
        now = trio.current_time()
        if self.reset_due <= now:
            self.ready.clear()
            self.flying.clear()
            return
        while self.flying and self.flying[0][0] <= now:
            due, piece = self.flying.popleft()
            self.first_arrival = min(self.first_arrival, due)
            self.ready += piece
            self.arrived += len(piece)

    @property
    def is_over(self) -> bool:
        """Whether the end of the stream has arrived, after everything else. Ask after `land()`."""
        return (
            not self.link.is_down
            and not self.flying
            and not self.ready
            and self.end_due <= trio.current_time()
        )

    @property
    def is_reset(self) -> bool:
        """Whether a reset has arrived."""
        return self.reset_due <= trio.current_time() and not self.link.is_down

    def has_news(self) -> bool:
        """Whether a receive would find something without waiting."""
        self.land()
        return bool(self.ready) or self.is_over or self.is_reset

    def take(self, max_bytes: int | None) -> bytes:
        """Return some of what has arrived; as few as the terms will have it."""
        size = len(self.ready) if max_bytes is None else min(max_bytes, len(self.ready))
        size = self._piece(size, self.taken)
        data = bytes(self.ready[:size])
        del self.ready[:size]
        if size:
            self.taken += size
            self.taken_by_reader += size
            self.journal.note("received", self.name, size)
            self.changed.unpark_all()
        return data

    def forget(self) -> None:
        """The receiving end is closed: what is on its way to it goes nowhere."""
        self.is_abandoned = True
        self.ready.clear()
        self.flying.clear()
        self.taken = self.sent
        self.link.leave(self.changed)
        self.changed.unpark_all()

    async def wait_news(self) -> None:
        """Return when something has arrived, or may have. A checkpoint."""
        dues = [self.end_due, self.reset_due]
        if self.flying:
            dues.append(self.flying[0][0])
        due = math.inf if self.link.is_down else min(dues)
        if due <= trio.current_time():
            await trio.lowlevel.checkpoint()
        elif due == math.inf:
            await self.changed.park()
        else:
            with trio.move_on_at(due):
                await self.changed.park()
