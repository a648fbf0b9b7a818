"""The run in the Trace Event Format (JSON object form), which Perfetto opens.

A server is a process there, a row of the picture a thread, a connection and its requests are complete events
("X") that nest, lines and points are instant events ("i"). The rules of the format that this file keeps:
times are microseconds; complete events of one thread must nest or not overlap at all; "M" events name
processes and threads. And of Perfetto: threads are told apart by their number alone, whatever their process;
numbers 0 and that of the process are its main thread. So every row of all servers has a number of its own,
above those of the servers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, TypeAlias

from .layout import Band, Box, lay_out
from .model import MAX_LANES, Run

_FIRST_TID: Final = MAX_LANES + 1
#: An event of the format, or its arguments.
Fields: TypeAlias = Mapping[str, object]

#: Names of colours that the viewers know.
_COLOURS: Final = {"failed": "terrible", "cut": "bad", "cancelled": "grey", "peer": "grey"}


def chrome_trace(run: Run) -> str:
    """Return the run as a JSON text."""
    picture = lay_out(run)
    events: list[Fields] = []
    tid = _FIRST_TID
    for pid, band in enumerate(picture.bands, start=1):
        events += _process(pid, tid, band)
        tid += 1 + band.rows
    other = {"summary": picture.summary, "notes": list(picture.notes)}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": other}, indent=1)


def _process(pid: int, doors: int, band: Band) -> list[Fields]:
    """Return the events of a server; the numbers of its rows follow that of its `doors`."""
    events = [_meta(pid, doors, "process_name", band.title), _meta(pid, doors, "thread_name", "doors")]
    for begin, shut in band.doors:
        events.append(_span(pid, doors, "accepting", "doors", begin, shut, {}))
    events += [_meta(pid, doors + row, "thread_name", f"row {row}") for row in range(1, band.rows + 1)]
    for box in band.boxes:
        events += _connection(pid, doors + 1 + box.row, box)
    for flag in band.flags:
        events.append(_instant(pid, doors, "p", flag.word, "life", flag.time, {"text": flag.text}))
    for point in band.points:
        events.append(_instant(pid, doors, "t", point.kind, "doors", point.time, {"text": point.text}))
    return events


def _connection(pid: int, tid: int, box: Box) -> list[Fields]:
    args = {"peer": box.peer, "end": box.end_kind, "text": box.text}
    name = box.text.partition("\n")[0]
    events = [_span(pid, tid, name, "connection", box.start, box.end, args, _COLOURS.get(box.end_kind))]
    for piece in box.pieces:
        colour = _COLOURS.get(piece.end_kind)
        told = {"text": piece.text, "end": piece.end_kind}
        events.append(_span(pid, tid, piece.kind, piece.kind, piece.start, piece.end, told, colour))
    events += [
        _instant(pid, tid, "t", "deadline", "deadline", due.time, {"text": due.text, "hit": due.hit})
        for due in box.dues
    ]
    return events


def _meta(pid: int, tid: int, name: str, value: str) -> Fields:
    return {"ph": "M", "pid": pid, "tid": tid, "name": name, "args": {"name": value}}


def _span(
    pid: int,
    tid: int,
    name: str,
    cat: str,
    start: float,
    end: float,
    args: Fields,
    colour: str | None = None,
) -> Fields:
    # Both ends are rounded, never the duration: what nests before rounding nests after it.
    begin = _us(start)
    span = {"ph": "X", "pid": pid, "tid": tid, "name": name, "cat": cat, "ts": begin, "dur": _us(end) - begin}
    return {**span, "args": args, **({"cname": colour} if colour else {})}


def _instant(pid: int, tid: int, scope: str, name: str, cat: str, when: float, args: Fields) -> Fields:
    return {
        "ph": "i",
        "s": scope,
        "pid": pid,
        "tid": tid,
        "name": name,
        "cat": cat,
        "ts": _us(when),
        "args": args,
    }


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
