"""The recorded values as JSON for the page; repeated values are numbers of rows in tables.

    files    [{name, own, trio, text: [line, …]} or {name, own, trio, lines: {number: line}}]
    frames   [[file, line, function]]
    stacks   [[number of the frame with the place, or -1, text of the wait, [frame, …]]], innermost last
    texts    [text]
    tasks    [[number, name, nursery, kind, µs, stack, deadline, origin, by]]   tasks at the beginning
    open     [[nursery, task]]
    events   [[µs since the last one, kind, task, by, stack, other, text, deadline]]   without trailing -1s

Names and texts are numbers of rows in `texts`, and -1 means none; `by` is -1 for the system.
"""

from __future__ import annotations

import json
from typing import Final, TypeAlias, final

from .model import Happening, Kind, State
from .sources import Sources
from .stacks import Frame, Stack

#: One letter for each kind.
LETTERS: Final[dict[Kind, str]] = {
    "spawn": "s",
    "run": "r",
    "pause": "p",
    "wait": "w",
    "wake": "k",
    "cancel": "c",
    "started": "m",
    "open": "o",
    "close": "q",
    "end": "e",
    "fail": "f",
    "gone": "g",
    "event": "v",
}
_NONE: Final = -1
Packed: TypeAlias = dict[str, object]


def packed(base: State, kept: list[Happening], forgotten: int) -> str:
    """Return the JSON. Characters that could end a script element are written as escapes."""
    text = json.dumps(_Packer().pack(base, kept, forgotten), separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@final
class _Packer:
    """Fills the tables."""

    def __init__(self) -> None:
        self._sources = Sources()
        self._frames: dict[Frame, int] = {}
        self._frame_rows: list[list[object]] = []
        self._stacks: dict[Stack, int] = {}
        self._stack_rows: list[list[object]] = []
        self._texts: dict[str, int] = {}

    def pack(self, base: State, kept: list[Happening], forgotten: int) -> Packed:
        tasks = [
            [
                *(number, self._text(task.name), task.nursery, LETTERS[task.kind], _micro(task.time)),
                *(self._stack(task.stack), _or_none(task.deadline), self._stack(task.origin), _by(task.by)),
            ]
            for number, task in base.tasks.items()
        ]
        now = _micro(base.time)
        events, start = [], now
        for one in kept:
            when = max(_micro(one.time), now)
            events.append(self._event(one, when - now))
            now = when
        return {
            "forgotten": forgotten,
            "start": start,
            "tasks": tasks,
            "open": list(base.nurseries.items()),
            "events": events,
            "stacks": self._stack_rows,
            "frames": self._frame_rows,
            "files": self._sources.packed(),
            "texts": list(self._texts),
        }

    def _event(self, one: Happening, later: int) -> list[object]:
        row: list[object] = [
            *(later, LETTERS[one.kind], one.task, _by(one.by), self._stack(one.stack)),
            *(_NONE if one.other is None else one.other, self._text(one.text), _or_none(one.deadline)),
        ]
        while row[-1] == _NONE:
            row.pop()
        return row

    def _text(self, text: str | None) -> int:
        return _NONE if text is None else self._texts.setdefault(text, len(self._texts))

    def _stack(self, stack: Stack | None) -> int:
        if stack is None or not stack.frames:
            return _NONE
        number = self._stacks.get(stack)
        if number is None:
            number = self._stacks[stack] = len(self._stack_rows)
            words, call = stack.waits_for()
            waits = f"{words} ({call})" if words and call else words or call
            place = stack.place()
            rows = [self._frame(frame) for frame in stack.frames]
            self._stack_rows.append([_NONE if place is None else place, self._text(waits), rows])
        return number

    def _frame(self, frame: Frame) -> int:
        number = self._frames.get(frame)
        if number is None:
            number = self._frames[frame] = len(self._frame_rows)
            file = self._sources.add(frame.file, frame.line)
            self._frame_rows.append([file, frame.line, self._text(frame.function)])
        return number


def _micro(seconds: float) -> int:
    return round(seconds * 1e6)


def _or_none(seconds: float | None) -> int:
    return _NONE if seconds is None else _micro(seconds)


def _by(task: int | None) -> int:
    return _NONE if task is None else task
