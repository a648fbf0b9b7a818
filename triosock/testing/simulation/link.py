"""What lies between two hosts, and what it does to one connection: `Link` and `Terms`.

The rules:

1. **The fate of a connection is drawn when it is made**, as numbers of which 0 is kind: so it does not depend
   on what else happens, and is made simpler number by number.
2. **A partition is silent**: nothing arrives, nobody is told, and when it heals everything arrives that was
   on its way, in its order.
"""

from __future__ import annotations

import math
import random
from typing import Final, final

import attrs
import trio
from trio.lowlevel import ParkingLot

from .choices import Choices
from .faults import Faults

#: What one direction of a connection holds if nothing is wrong with it: a pipe's default on Linux, pipe(7).
BUFFER: Final = 65_536
#: Of small buffers.
_SMALL_BUFFERS: Final = (4096, 1000, 64, 7, 1)
#: The most bytes in one piece, where bytes are cut.
_PIECES: Final = (1000, 100, 16, 7, 3, 2, 1)
#: Faults after some byte come within the first so many.
_MOST_BYTES: Final = 2**16
#: Slow connections have at most so many times the least bandwidth.
_SPREAD: Final = 10


@attrs.define(eq=False)
class Terms:
    """What one direction of a connection is like. `seconds`: how long anything takes on its way; `jitter`
    seconds more at most; pieces of `piece` bytes at most (0: as sent); reset, or ended, after so many bytes;
    before each receive the reader waits for `reading` seconds.
    """

    buffer: int = BUFFER
    seconds: float = 0.0
    bandwidth: float = math.inf
    jitter: float = 0.0
    piece: int = 0
    random: random.Random | None = None
    reset_at: float = math.inf
    end_at: float = math.inf
    reading: float = 0.0


def describe(terms: Terms) -> list[tuple[str, str]]:
    """Return what is unkind in the terms of one direction: kinds, and words."""
    told = []
    if terms.seconds or (terms.jitter and terms.random is not None):
        told.append(("latency", f"takes {terms.seconds:.3f} s, and up to {terms.jitter:g} s more"))
    if terms.bandwidth < math.inf:
        told.append(("bandwidth", f"has {terms.bandwidth:.0f} bytes a second"))
    if terms.buffer < BUFFER:
        told.append(("small buffers", f"holds {terms.buffer} bytes"))
    if terms.piece:
        told.append(("cuts", f"comes in pieces of at most {terms.piece} bytes"))
    if terms.reading:
        told.append(("slow readers", f"is read every {terms.reading:.3f} s"))
    return told


@final
class Link:
    """The way between two hosts, both ways."""

    def __init__(self, one: str, other: str) -> None:
        self.name: str = f"{one} and {other}"
        #: Whether nothing arrives now.
        self.is_down: bool = False
        #: Those who wait for anything that comes over it.
        self.changed: ParkingLot = ParkingLot()
        self._users: dict[ParkingLot, None] = {}

    def __repr__(self) -> str:
        return f"<Link of {self.name}{' (partitioned)' if self.is_down else ''}>"

    def join(self, lot: ParkingLot) -> None:
        """Have those woken who wait here, when it heals."""
        self._users[lot] = None

    def leave(self, lot: ParkingLot) -> None:
        """Undo `join`."""
        self._users.pop(lot, None)

    def partition(self) -> None:
        """Let nothing through from now on."""
        self.is_down = True

    def heal(self) -> None:
        """Let everything through again, also what was on its way."""
        self.is_down = False
        for lot in (self.changed, *self._users):
            lot.unpark_all()

    async def travel(self, seconds: float) -> None:
        """Return when something that sets out now has arrived. A checkpoint."""
        if seconds > 0:
            await trio.sleep(seconds)
        else:
            await trio.lowlevel.checkpoint()
        while self.is_down:
            await self.changed.park()


def draw_terms(choices: Choices, faults: Faults) -> tuple[Terms, Terms]:
    """Return the terms of a new connection: from its client to its server, and back."""
    to_server, to_client = Terms(), Terms()
    to_server.seconds = to_client.seconds = choices.seconds(faults.latency)
    if faults.bandwidth < math.inf and choices.integer(2) == 2:
        slowness = choices.integer(100) / 100
        to_server.bandwidth = to_client.bandwidth = faults.bandwidth * (_SPREAD - (_SPREAD - 1) * slowness)
    for terms in (to_server, to_client):
        if choices.happens(faults.small_buffers):
            terms.buffer = choices.pick(_SMALL_BUFFERS)
        terms.jitter = faults.jitter
        if choices.happens(faults.cuts):
            terms.piece = choices.pick(_PIECES)
        if terms.piece or terms.jitter:
            terms.random = choices.generator()
        if terms.random is None:
            terms.piece = 0
    if choices.happens(faults.resets):
        victim = choices.pick((to_server, to_client))
        victim.reset_at = choices.moment(_MOST_BYTES) - 1
    if choices.happens(faults.half_closes):
        to_server.end_at = choices.moment(_MOST_BYTES) - 1
    if choices.happens(faults.slow_readers):
        to_client.reading = choices.seconds(faults.pause)
    return to_server, to_client
