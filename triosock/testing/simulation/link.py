"""The link between two hosts, and the conditions of one direction of a connection: `Link` and `Conditions`.

The rules:

1. **The faults of a connection are drawn when it is made**, as numbers of which 0 means none: so they do not
   depend on anything else, and can be shrunk number by number.
2. **A partition gives no error**: nothing arrives, and when it heals everything in flight arrives, in order.
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

#: The buffer of one direction of a connection without faults: a pipe's default on Linux, pipe(7).
BUFFER: Final = 65_536
#: Sizes of small buffers.
_SMALL_BUFFERS: Final = (4096, 1000, 64, 7, 1)
#: The maximum of bytes in one piece, where data is split.
_PIECES: Final = (1000, 100, 16, 7, 3, 2, 1)
#: A fault after some byte is within the first so many bytes.
_MOST_BYTES: Final = 2**16
#: A slow connection has at most so many times the minimum bandwidth.
_SPREAD: Final = 10


@attrs.define(eq=False)
class Conditions:
    """The conditions of one direction of a connection. `seconds` is the travel time, `jitter` the maximum of
    additional seconds, `piece` the maximum of bytes in a piece (0: as sent), `reset_at` and `end_at` the
    bytes after which it is reset or ended, `reading` the seconds that the reader waits before each receive.
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


def describe(conditions: Conditions) -> list[tuple[str, str]]:
    """Return the faults in the conditions of one direction: kinds and descriptions."""
    told = []
    if conditions.seconds or (conditions.jitter and conditions.random is not None):
        told.append(("latency", f"takes {conditions.seconds:.3f} s, and up to {conditions.jitter:g} s more"))
    if conditions.bandwidth < math.inf:
        told.append(("bandwidth", f"has {conditions.bandwidth:.0f} bytes a second"))
    if conditions.buffer < BUFFER:
        told.append(("small buffers", f"holds {conditions.buffer} bytes"))
    if conditions.piece:
        told.append(("cuts", f"is split into pieces of at most {conditions.piece} bytes"))
    if conditions.reading:
        told.append(("slow readers", f"is read every {conditions.reading:.3f} s"))
    return told


@final
class Link:
    """The link between two hosts, in both directions."""

    def __init__(self, one: str, other: str) -> None:
        self.name: str = f"{one} and {other}"
        #: Whether nothing arrives now.
        self.is_down: bool = False
        #: Tasks that wait for something to arrive over it.
        self.changed: ParkingLot = ParkingLot()
        self._users: dict[ParkingLot, None] = {}

    def __repr__(self) -> str:
        return f"<Link of {self.name}{' (partitioned)' if self.is_down else ''}>"

    def join(self, lot: ParkingLot) -> None:
        """Wake the tasks in this parking lot when it heals."""
        self._users[lot] = None

    def leave(self, lot: ParkingLot) -> None:
        """Undo `join`."""
        self._users.pop(lot, None)

    def partition(self) -> None:
        """Deliver nothing from now on."""
        self.is_down = True

    def heal(self) -> None:
        """Deliver again, including what is in flight."""
        self.is_down = False
        for lot in (self.changed, *self._users):
            lot.unpark_all()

    async def travel(self, seconds: float) -> None:
        """Return when something that is sent now has arrived. A checkpoint."""
        if seconds > 0:
            await trio.sleep(seconds)
        else:
            await trio.lowlevel.checkpoint()
        while self.is_down:
            await self.changed.park()


def draw_conditions(choices: Choices, faults: Faults) -> tuple[Conditions, Conditions]:
    """Return the conditions of a new connection: from its client to its server, and back."""
    to_server, to_client = Conditions(), Conditions()
    to_server.seconds = to_client.seconds = choices.seconds(faults.latency)
    if faults.bandwidth < math.inf and choices.integer(2) == 2:
        slowness = choices.integer(100) / 100
        to_server.bandwidth = to_client.bandwidth = faults.bandwidth * (_SPREAD - (_SPREAD - 1) * slowness)
    for conditions in (to_server, to_client):
        if choices.happens(faults.small_buffers):
            conditions.buffer = choices.pick(_SMALL_BUFFERS)
        conditions.jitter = faults.jitter
        if choices.happens(faults.cuts):
            conditions.piece = choices.pick(_PIECES)
        if conditions.piece or conditions.jitter:
            conditions.random = choices.generator()
        if conditions.random is None:
            conditions.piece = 0
    if choices.happens(faults.resets):
        victim = choices.pick((to_server, to_client))
        victim.reset_at = choices.moment(_MOST_BYTES) - 1
    if choices.happens(faults.half_closes):
        to_server.end_at = choices.moment(_MOST_BYTES) - 1
    if choices.happens(faults.slow_readers):
        to_client.reading = choices.seconds(faults.pause)
    return to_server, to_client
