"""What a picture is made of: values, and nothing that happens by itself.

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

#: What a connection was doing: before its handler, or at work on a request. What is neither is waiting.
SegmentKind: TypeAlias = Literal["handshake", "request"]
#: Ends of special interest.
BAD: Final = frozenset({Cause.FAILED, Cause.PEER, Cause.DRAIN, Cause.REQUEST, Cause.SEND, Cause.HANDSHAKE})


@attrs.define(eq=False)
class Segment:
    """A part of a connection's life; `end` None while it lasts. `merged` requests became this one, at work
    for `busy` seconds of it.
    """

    kind: SegmentKind
    start: float
    end: float | None = None
    cause: Cause | None = None
    merged: int = 1
    busy: float = 0.0


@attrs.define(eq=False)
class Bar:
    """A connection; `end` None while it is open."""

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
    """Something that concerns a whole server: its drain began, or ended."""

    time: float
    kind: Literal["drain", "drained"]
    text: str


@attrs.frozen
class Point:
    """Something that happened at a server's door: `kind` is "refused", "full" or "error"; or a "mark", which
    the program itself has made.
    """

    time: float
    kind: Literal["refused", "full", "error", "mark"]
    text: str


@attrs.define(eq=False)
class Lane:
    """A server. `doors` are the times in which it accepted, `to` None while it does; `listening` is the
    number of its listeners; `cuts` has when the first connection was cut for a cause, and how many were.
    `timeouts`, `session_idle` and `lifetime` are as in `ServerStarted`.
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
    """What a picture is made of: the lanes with their bars, the `end` of what is known, and what was let
    go.
    """

    lanes: tuple[Lane, ...]
    end: float
    notes: tuple[str, ...] = ()
