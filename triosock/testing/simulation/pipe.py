"""One direction of a simulated connection: bytes in flight, and bytes that have arrived.

The rules:

1. **Nothing is lost, duplicated or reordered** except by a reset, which is one for both ends.
2. **No task carries data**: each piece has a due time, known when it is sent, and a reader takes over the
   pieces that are due. Pieces held back by a partition are due when it heals.
3. **A buffer holds what was sent and not yet read**, in flight or arrived.
4. **Small pieces and buffers grow with the bytes sent**, so that a megabyte does not take a million steps:
   faults of small pieces show in the first bytes.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, final

import attrs
import trio
from trio.lowlevel import ParkingLot

from .journal import Journal
from .link import Conditions, Link

#: After so many bytes, as a power of 2, a piece or buffer of one byte has grown to two.
_GROWTH: Final = 7


@final
@attrs.define(eq=False)
class Pipe:
    """One direction. `sent`, `arrived` and `taken` count bytes."""

    name: str
    link: Link
    conditions: Conditions
    journal: Journal
    ready: bytearray = attrs.field(factory=bytearray)
    in_flight: deque[tuple[float, bytes]] = attrs.field(factory=deque)
    sent: int = 0
    arrived: int = 0
    taken: int = 0
    #: Without the bytes that were discarded when the receiving end was closed.
    taken_by_reader: int = 0
    #: When the first byte arrived.
    first_arrival: float = math.inf
    #: The bytes sent in the other direction at the time of the last send.
    answers_at_put: int = 0
    #: The other direction.
    back: Pipe | None = None
    #: The sender has ended its stream, or has closed.
    is_ended: bool = False
    #: The time at which the end arrives at the other end; inf before the end.
    end_due: float = math.inf
    reset_due: float = math.inf
    #: The receiving end was closed.
    is_abandoned: bool = False
    changed: ParkingLot = attrs.field(factory=ParkingLot)
    _last_due: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.link.join(self.changed)

    # For the sender

    @property
    def room(self) -> int:
        """The bytes that may be sent now."""
        return self._capacity() - (self.sent - self.taken)

    def room_for(self, size: int) -> int:
        """Return how many of `size` bytes may be sent now: none while there is room for only a few.

        Otherwise each byte that is read would cause a send of one byte (RFC 9293, 3.8.6.2.1).
        """
        room = self.room
        return room if room >= min(size, (self._capacity() + 1) // 2) else 0

    def _capacity(self) -> int:
        return max(self.conditions.buffer, self.sent >> _GROWTH)

    def _piece(self, size: int, passed: int) -> int:
        """Return the size of the next piece of `size` bytes, after `passed` bytes."""
        conditions = self.conditions
        if size <= 1 or not conditions.piece or conditions.random is None:
            return size
        return min(size, conditions.random.randint(1, max(conditions.piece, passed >> _GROWTH)))

    def put(self, data: memoryview) -> None:
        """Send some bytes, for which there must be room."""
        self.sent += len(data)
        self.answers_at_put = 0 if self.back is None else self.back.sent
        self.journal.note("sent", self.name, len(data))
        if self.is_abandoned:
            self.taken = self.arrived = self.sent
            return
        while data:
            size = self._piece(len(data), self.sent)
            self.in_flight.append((self._next_due(size), bytes(data[:size])))
            data = data[size:]
        self.changed.unpark_all()

    def _next_due(self, size: int) -> float:
        conditions, now = self.conditions, trio.current_time()
        delay = conditions.seconds
        if conditions.jitter and conditions.random is not None:
            delay += conditions.random.random() * conditions.jitter
        self._last_due = max(self._last_due, now + delay)
        if conditions.bandwidth < math.inf:
            self._last_due += size / conditions.bandwidth
        return self._last_due

    def end(self) -> None:
        """End the stream in this direction."""
        if not self.is_ended:
            self.is_ended = True
            self.end_due = self._next_due(0)
            self.journal.note("end", self.name)
            self.changed.unpark_all()

    def reset(self, delay: float | None = None) -> None:
        """Reset: bytes that are unread when the reset arrives are lost."""
        if self.reset_due == math.inf:
            self.reset_due = trio.current_time() + (self.conditions.seconds if delay is None else delay)
            self.journal.note("reset", self.name)
            self.changed.unpark_all()

    # For the receiver

    def deliver_due(self) -> None:
        """Take over the pieces that are due."""
        if self.link.is_down:
            return
        now = trio.current_time()
        if self.reset_due <= now:
            self.ready.clear()
            self.in_flight.clear()
            return
        while self.in_flight and self.in_flight[0][0] <= now:
            due, piece = self.in_flight.popleft()
            self.first_arrival = min(self.first_arrival, due)
            self.ready += piece
            self.arrived += len(piece)

    @property
    def is_over(self) -> bool:
        """Whether the end of the stream has arrived, after all data. Call `deliver_due()` first."""
        return (
            not self.link.is_down
            and not self.in_flight
            and not self.ready
            and self.end_due <= trio.current_time()
        )

    @property
    def is_reset(self) -> bool:
        """Whether a reset has arrived."""
        return self.reset_due <= trio.current_time() and not self.link.is_down

    def is_readable(self) -> bool:
        """Whether a receive would find something without waiting."""
        self.deliver_due()
        return bool(self.ready) or self.is_over or self.is_reset

    def take(self, max_bytes: int | None) -> bytes:
        """Return some of the arrived bytes; a small piece if the conditions say so."""
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
        """Note that the receiving end is closed: bytes in flight are lost."""
        self.is_abandoned = True
        self.ready.clear()
        self.in_flight.clear()
        self.taken = self.sent
        self.link.leave(self.changed)
        self.changed.unpark_all()

    async def wait_readable(self) -> None:
        """Return when something has arrived, or may have. A checkpoint."""
        dues = [self.end_due, self.reset_due]
        if self.in_flight:
            dues.append(self.in_flight[0][0])
        due = math.inf if self.link.is_down else min(dues)
        if due <= trio.current_time():
            await trio.lowlevel.checkpoint()
        elif due == math.inf:
            await self.changed.park()
        else:
            with trio.move_on_at(due):
                await self.changed.park()
