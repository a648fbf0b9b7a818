"""Lays out a recorded run as a picture: the row of each bar, the marks on it, and the texts about it.

Pure functions of a `Run`, without a clock and without files. Horizontal places are times, since a picture can
be zoomed; vertical places are rows.

The rules:

1. Each connection has its own row if a lane has at most `ROOMY`; otherwise they share rows, and each takes
   the first free one, so that the height of a lane is the largest number of connections at one moment.
2. Each part of a bar is one of: handshake, waiting, working, "many" (requests that were merged), and
   "handler", for a connection without any marked request: only its handler knows what it did.
3. The end of a bar has a mark for its reason, so that colour is never the only sign.
"""

from __future__ import annotations

import heapq
import math
from typing import Final, Literal, TypeAlias

import attrs

from ..._core.model.events import Cause
from ..text import count, duration
from .model import NO_HANDSHAKE, Bar, Lane, Point, Run, Segment

#: The maximum of connections of a lane with a row each.
ROOMY: Final = 40

#: The origin of the deadline of a compat server's request.
LIFETIME: Final = "Policy.request_timeout"

PieceKind: TypeAlias = Literal["handshake", "waiting", "working", "handler", "many"]
FlagKind: TypeAlias = Literal["drain", "drained", "grace", "cancel", "closed"]
#: The order of flags with the same time.
_ORDER: Final[tuple[FlagKind, ...]] = ("drain", "grace", "cancel", "drained", "closed")
#: How a bar ended: well, not yet, by a failure of the handler, by its peer, by a deadline, or by a
#: cancellation from around the server.
End: TypeAlias = Literal["finished", "open", "failed", "peer", "cut", "cancelled"]

_ENDS: Final[dict[Cause | None, End]] = {
    None: "open",
    Cause.FINISHED: "finished",
    Cause.OVERFLOW: "finished",
    Cause.IDLE: "finished",
    Cause.FAILED: "failed",
    Cause.PEER: "peer",
    Cause.HANDSHAKE: "failed",
    Cause.PARENT: "cancelled",
}
_ENDINGS: Final[dict[Cause, str]] = {
    Cause.FINISHED: "finished: the handler returned",
    Cause.FAILED: "failed: the handler raised",
    Cause.PEER: "peer: it went away, or broke a rule of the protocol",
    Cause.DRAIN: "drain deadline: still busy when the grace was over",
    Cause.IDLE: "idle: it waited for longer than it may",
    Cause.REQUEST: "request: its deadline was over",
    Cause.SEND: "send: Timeouts.send was over",
    Cause.HANDSHAKE: "handshake: it failed, or took too long",
    Cause.PARENT: "parent: cancelled from around the server",
    Cause.OVERFLOW: "overflow: one too many, told so and closed",
}


@attrs.frozen
class Piece:
    """A part of a bar; `end_kind` tells how a request ended."""

    kind: PieceKind
    start: float
    end: float
    end_kind: End
    text: str


@attrs.frozen
class Due:
    """A deadline on a bar: `hit` if it has cut something; otherwise the bar ended before it."""

    time: float
    hit: bool
    text: str


@attrs.frozen
class Box:
    """A connection in its row."""

    row: int
    number: int
    peer: str
    start: float
    end: float
    end_kind: End
    #: The cause of its end; "open" if it has not ended.
    cause: str
    pieces: tuple[Piece, ...]
    dues: tuple[Due, ...]
    text: str


@attrs.frozen
class Flag:
    """A vertical line through a lane. `letter` is its name in the key."""

    letter: str
    time: float
    kind: FlagKind
    word: str
    text: str


@attrs.frozen
class Band:
    """A lane. `end` is the end of the server, by which every bar has ended; None if the server still ran."""

    title: str
    start: float
    end: float | None
    doors: tuple[tuple[float, float], ...]
    boxes: tuple[Box, ...]
    rows: int
    flags: tuple[Flag, ...]
    points: tuple[Point, ...]
    text: str


@attrs.frozen
class Picture:
    """The whole picture, from 0 to `end` seconds."""

    end: float
    bands: tuple[Band, ...]
    notes: tuple[str, ...]
    summary: str


def lay_out(run: Run) -> Picture:
    """Return the picture of a run."""
    letters = _letters()
    bands = tuple(_band(lane, run.end, letters) for lane in run.lanes)
    bars = [bar for lane in run.lanes for bar in lane.bars.values()]
    datagrams = sum(bar.what == "datagram" for bar in bars)
    said = [count(len(bands), "server")]
    if len(bars) > datagrams or not bars:
        said.append(count(len(bars) - datagrams, "connection"))
        said.append(count(sum(bar.requests for bar in bars) - datagrams, "request"))
    if datagrams:
        said.append(count(datagrams, "datagram"))
    summary = f"{', '.join(said)} in {duration(run.end)}"
    return Picture(run.end, bands, run.notes, summary)


def _letters() -> list[str]:
    """Return the letters A, B, … Z, A1, B1, … in reverse order, to be popped."""
    return [chr(65 + i % 26) + (str(i // 26) if i >= 26 else "") for i in range(100_000)][::-1]


def _band(lane: Lane, end: float, letters: list[str]) -> Band:
    bars = sorted(lane.bars.values(), key=lambda bar: (bar.start, bar.number))
    rows = rows_of(bars, end)
    boxes = tuple(_box(bar, row, lane, end) for bar, row in zip(bars, rows, strict=True))
    where = ", ".join(lane.addresses)
    title = lane.name if where in ("", lane.name) else f"{lane.name} on {where}"
    still = sum(bar.end is None for bar in bars)
    if lane.end is None:
        ended = f"still running at the end of the recording, {count(still, 'connection')} open"
    else:
        ended = f"closed at {at(lane.end)}: every bar has ended, nothing of it is left"
    return Band(
        title=title,
        start=lane.start,
        end=lane.end,
        doors=tuple((begin, end if shut is None else shut) for begin, shut in lane.doors),
        boxes=boxes,
        rows=max(rows, default=-1) + 1,
        flags=_flags(lane, end, letters),
        points=tuple(lane.points),
        text=f"{title}\nstarted at {at(lane.start)}\n{ended}",
    )


def rows_of(bars: list[Bar], end: float) -> list[int]:
    """Return the row of each bar; `bars` must be in the order of their starts."""
    if len(bars) <= ROOMY:
        return list(range(len(bars)))
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    rows = []
    for bar in bars:
        while busy and busy[0][0] <= bar.start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        # A row is in `busy` or in `free`; if `free` is empty, the next new row is the length of `busy`.
        row = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (math.inf if bar.end is None else bar.end, row))
        rows.append(row)
    return rows


def _flags(lane: Lane, end: float, letters: list[str]) -> tuple[Flag, ...]:
    lines: list[tuple[float, FlagKind, str, str]]
    lines = [(line.time, line.kind, line.kind, line.text) for line in lane.lines]
    for cause, (first, number) in lane.cuts.items():
        who = count(number, "connection" if lane.connected else "handler")
        if cause is Cause.PARENT:
            lines.append((first, "cancel", "cancelled", f"cancelled from around the server (parent): {who}"))
        else:
            lines.append((first, "grace", "grace over", f"the grace is over: {who} cut (drain deadline)"))
    there = end if lane.end is None else lane.end
    if lane.grace_ends is not None and lane.grace_ends <= there and Cause.DRAIN not in lane.cuts:
        lines.append((lane.grace_ends, "grace", "grace over", "the grace is over: no connection was cut"))
    if lane.end is not None:
        lines.append((lane.end, "closed", "closed", "closed: every bar has ended, nothing of it is left"))
    lines.sort(key=lambda line: (line[0], _ORDER.index(line[1])))
    if len(lines) > 1 and lines[-2][1] == "drained" and lines[-1][1] == "closed":
        # These two are at nearly the same moment: they get one flag.
        (_, _, _, told), (when, kind, _, left) = lines[-2:]
        lines[-2:] = [(when, kind, "drained, closed", f"{told}; {left}")]
    return tuple(
        Flag(letters.pop(), when, kind, word, f"{at(when)}: {text}") for when, kind, word, text in lines
    )


def _box(bar: Bar, row: int, lane: Lane, end: float) -> Box:
    until = end if bar.end is None else bar.end
    pieces = tuple(_pieces(bar, until))
    return Box(
        row=row,
        number=bar.number,
        peer=bar.peer,
        start=bar.start,
        end=until,
        end_kind=_ENDS.get(bar.cause, "cut"),
        cause="open" if bar.cause is None else str(bar.cause),
        pieces=pieces,
        dues=tuple(_dues(bar, lane, until, end if len(lane.bars) <= ROOMY else until)),
        text=_describe(bar, pieces, until),
    )


def _pieces(bar: Bar, until: float) -> list[Piece]:
    rest: PieceKind = "waiting" if bar.requests or bar.cause is Cause.IDLE else "handler"
    pieces, reached = [], bar.start
    ended: End = _ENDS.get(bar.cause, "cut") if rest == "handler" else "finished"
    for number, segment in enumerate(bar.segments):
        begin, stop = max(segment.start, reached), until if segment.end is None else segment.end
        if begin > reached:
            pieces.append(Piece(rest, reached, begin, "finished", ""))
        pieces.append(_segment(bar, segment, begin, stop, number))
        reached = stop
    if until > reached or not pieces:
        pieces.append(Piece(rest, reached, until, ended, ""))
    return pieces


def _segment(bar: Bar, segment: Segment, begin: float, stop: float, number: int) -> Piece:
    end_kind: End = "open" if segment.end is None else _ENDS.get(segment.cause or Cause.FINISHED, "cut")
    took = f"{duration(stop - begin)}, from {at(begin)}"
    if segment.kind == "handshake":
        return Piece("handshake", begin, stop, end_kind, f"handshake: {took}")
    if segment.merged > 1:
        busy = segment.busy / (stop - begin) if stop > begin else 1.0
        text = f"{count(segment.merged, 'request')} drawn as one, working {busy:.0%} of {took}"
        return Piece("many", begin, stop, end_kind, text)
    # The last ones are kept, so they are counted from the end.
    which = bar.requests - (len(bar.segments) - number) + 1
    name = "at work" if bar.what == "datagram" else f"request {which}"
    how = {"open": "still in progress", "finished": "done"}.get(end_kind, str(segment.cause))
    return Piece("working", begin, stop, end_kind, f"{name}: {how}, {took}")


def _dues(bar: Bar, lane: Lane, until: float, end: float) -> list[Due]:
    """Return the deadlines that have cut the connection or a request; without any, the one that was in force
    at the end of the bar, if there is room for it. A shared row has no room beyond the bar itself.
    """
    dues = [
        Due(segment.end, True, f"deadline of a request, hit at {at(segment.end)} (request)")
        for segment in bar.segments
        if segment.end is not None and segment.cause is Cause.REQUEST
    ]
    in_time = bar.cause is Cause.HANDSHAKE and bar.error != NO_HANDSHAKE
    if bar.end is not None and bar.cause in _CUT_BY and not dues and not in_time:
        what, origin = _CUT_BY[bar.cause]
        if bar.cause is Cause.IDLE:
            origin = _idle(lane)[1]
        elif lane.lifetime is not None and bar.cause is Cause.REQUEST:
            origin = LIFETIME
        dues.append(Due(until, True, f"{what}, hit at {at(until)} ({origin})"))
    if not dues:
        when, origin = _in_force(bar, lane)
        # It cannot be before the end: unmarked reads have moved it.
        if until <= when <= end:
            dues.append(Due(when, False, f"deadline at {at(when)}, not reached ({origin})"))
    return dues


def _in_force(bar: Bar, lane: Lane) -> tuple[float, str]:
    """Return the deadline that was in force at the end of a bar, and its origin."""
    if lane.lifetime is not None:
        return bar.start + lane.lifetime, LIFETIME
    last = bar.segments[-1] if bar.segments else None
    if (
        lane.timeouts is not None
        and last is not None
        and last.kind == "request"
        and last.end in (None, bar.end)
    ):
        return last.start + lane.timeouts.request, "Timeouts.request"
    seconds, origin = _idle(lane)
    return (bar.start if last is None or last.end is None else last.end) + seconds, origin


def _idle(lane: Lane) -> tuple[float, str]:
    if lane.session_idle is not None:
        return lane.session_idle, "Sessions.idle"
    return (math.inf if lane.timeouts is None else lane.timeouts.idle), "Timeouts.idle"


#: The name and the default origin of the deadline for each cause.
_CUT_BY: Final[dict[Cause | None, tuple[str, str]]] = {
    Cause.IDLE: ("idle deadline", "Timeouts.idle"),
    Cause.REQUEST: ("deadline of a request", "request"),
    Cause.SEND: ("send deadline", "Timeouts.send"),
    Cause.HANDSHAKE: ("handshake deadline", "Timeouts.handshake"),
    Cause.DRAIN: ("drain deadline", "the end of the grace"),
}


_NONE: Final = "no request marked"


def _describe(bar: Bar, pieces: tuple[Piece, ...], until: float) -> str:
    spans: dict[str, float] = {}
    for piece in pieces:
        spans[piece.kind] = spans.get(piece.kind, 0.0) + piece.end - piece.start
    names = {"handler": "in its handler", "many": "in requests drawn as one"}
    did = ", ".join(f"{names.get(kind, kind)} {duration(took)}" for kind, took in spans.items())
    lines = [
        f"{bar.what} {bar.number} of {bar.peer}",
        f"from {at(bar.start)} to {at(until)}: {duration(until - bar.start)}",
        did
        if bar.what == "datagram"
        else f"{count(bar.requests, 'request') if bar.requests else _NONE}; {did}",
    ]
    if bar.cause is None:
        lines.append("still open")
    else:
        if bar.what == "connection":
            lines.append(f"{bar.received:,} bytes received, {bar.sent:,} sent")
        lines.append(_ENDINGS[bar.cause])
    if bar.error is not None:
        lines.append(bar.error)
    return "\n".join(lines)


def at(when: float) -> str:
    """Return the text of a time: seconds with six decimals below 1 s, and four above."""
    return f"{when:.6f}".rstrip("0").rstrip(".") + " s" if when < 1 else f"{when:.4f} s"
