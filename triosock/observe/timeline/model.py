"""The recorded values from which a picture is drawn.

    Run ─ lanes ─ Lane (a server) ─ bars ─ Bar (a connection) ─ segments ─ Segment (a handshake, a request)
                        ├─ lines (drain, drained)
                        └─ points (refused, full, error, mark)

All times are seconds from the first event of the run.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal, TypeAlias

import attrs

from ..._core.model.config import Timeouts
from ..._core.model.events import Cause

MAX_LANES: Final = 64
#: Trio runs whose clocks are known at once.
MAX_CLOCKS: Final = 64
MAX_LINES: Final = 200
MAX_POINTS: Final = 500
#: The "error" of a handshake that took too long.
NO_HANDSHAKE: Final = "no handshake in time"

#: A handshake, or work on a request. The rest of a connection's time is waiting.
SegmentKind: TypeAlias = Literal["handshake", "request"]
#: The causes of ends that are kept longest.
BAD: Final = frozenset({Cause.FAILED, Cause.PEER, Cause.DRAIN, Cause.REQUEST, Cause.SEND, Cause.HANDSHAKE})


@attrs.define(eq=False)
class Segment:
    """A part of a connection's time; `end` is None while it lasts. It stands for `merged` requests, which
    have taken `busy` seconds of it together.
    """

    kind: SegmentKind
    start: float
    end: float | None = None
    cause: Cause | None = None
    merged: int = 1
    busy: float = 0.0


@attrs.define(eq=False)
class Bar:
    """A connection, or a datagram; `end` is None while it is open."""

    number: int
    peer: str
    start: float
    what: Literal["connection", "datagram"] = "connection"
    end: float | None = None
    cause: Cause | None = None
    error: str | None = None
    received: int = 0
    sent: int = 0
    requests: int = 0
    segments: deque[Segment] = attrs.field(factory=deque)


@attrs.frozen
class Line:
    """An event of a whole server: its drain was announced, has begun ("drain") or has ended ("drained")."""

    time: float
    kind: Literal["drain", "drained"]
    text: str


@attrs.frozen
class Point:
    """An event of a server that belongs to no bar: `kind` is "refused" (a connection was refused, or a
    datagram dropped), "full", "error", or "mark" (by `Timeline.mark`).
    """

    time: float
    kind: Literal["refused", "full", "error", "mark"]
    text: str


@attrs.define(eq=False)
class Lane:
    """A server. `doors` has the beginning and the end of each time in which it accepted, with None for the
    end while it accepts; `listening` is the number of its open listeners; `cuts` has, for the causes DRAIN
    and PARENT, the time of the first connection that was cut and the number of them. `timeouts`,
    `session_idle` and `lifetime` are as in `ServerStarted`.
    """

    name: str
    start: float
    addresses: tuple[str, ...] = ()
    timeouts: Timeouts | None = None
    session_idle: float | None = None
    lifetime: float | None = None
    end: float | None = None
    listening: int = 0
    connected: bool = False
    doors: list[tuple[float, float | None]] = attrs.field(factory=list)
    bars: dict[int, Bar] = attrs.field(factory=dict)
    lines: list[Line] = attrs.field(factory=list)
    points: deque[Point] = attrs.field(factory=lambda: deque(maxlen=MAX_POINTS))
    cuts: dict[Cause, tuple[float, int]] = attrs.field(factory=dict)
    grace_ends: float | None = None


@attrs.frozen
class Run:
    """A recorded run: the lanes with their bars, the time of the last event or of the copy (`end`), and
    `notes` about what was discarded.
    """

    lanes: tuple[Lane, ...]
    end: float
    notes: tuple[str, ...] = ()
