"""The journal of a run: every step of every task, and every action of the network.

The invariant: **the journal contains nothing that differs between processes**: no addresses of objects, no
times of the wall clock, no hashes; tasks are numbered in the order in which they first run. So two runs are
the same if their journals are, and the first entry that differs shows where they diverge.

It has the sizes of messages, and not their contents, which may be random, as with TLS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, TypeAlias, final

import trio

from ..leaks import where

#: A step is the number of its task; any other entry is (time, action, subject, amount).
Entry: TypeAlias = int | tuple[float, str, str, int]

#: The number of entries before a difference that a report shows.
_CONTEXT: Final = 5


@final
class Journal:
    """Collects entries. Args: `located`, whether to note the place where each step ended, which doubles the
    time."""

    def __init__(self, *, located: bool = False) -> None:
        self.entries: list[Entry] = []
        self.places: list[str] | None = [] if located else None
        self.steps: int = 0
        self._numbers: dict[trio.lowlevel.Task, int] = {}
        self.names: list[str] = []
        self._now = -1.0
        #: The clock of the run.
        self.clock: Callable[[], float] = lambda: 0.0

    def __len__(self) -> int:
        return len(self.entries)

    def step(self, task: trio.lowlevel.Task) -> None:
        """Note that a task has run until its next checkpoint."""
        self.steps += 1
        number = self._numbers.get(task)
        if number is None:
            number = self._numbers[task] = len(self._numbers)
            self.names.append(task.name)
        now = self.clock()
        if now != self._now:
            self._now = now
            self._add((now, "time", "", 0), "")
        self._add(number, "" if self.places is None else where(task))

    def note(self, what: str, who: str, amount: int = 0) -> None:
        """Note an action of the world."""
        self._add((self.clock(), what, who, amount), "")

    def _add(self, entry: Entry, place: str) -> None:
        self.entries.append(entry)
        if self.places is not None:
            self.places.append(place)

    def digest(self) -> str:
        """Return a hash of all entries: the same for the same run, in every process."""
        return hashlib.sha256(repr((self.names, self.entries)).encode()).hexdigest()

    def describe(self, index: int) -> str:
        """Return an entry in words."""
        if index >= len(self.entries):
            return "the end"
        entry = self.entries[index]
        if isinstance(entry, int):
            place = f" at {self.places[index]}" if self.places and self.places[index] else ""
            return f"task {entry} ({self.names[entry]}) runs{place}"
        time, what, who, amount = entry
        return f"{time:.6f} s: {what}{f' of {amount}' if amount else ''} {who}".rstrip()


def first_difference(one: Journal, other: Journal) -> str | None:
    """Return a description of the first difference of two runs; None if there is none."""
    length = min(len(one), len(other))
    index = next(
        (
            i
            for i in range(length)
            if one.entries[i] != other.entries[i] or _named(one, i) != _named(other, i)
        ),
        length,
    )
    if index == len(one) == len(other):
        return None
    before = "".join(f"\n    {one.describe(i)}" for i in range(max(0, index - _CONTEXT), index))
    return (
        f"after {index} events that are the same, the last of which are{before}\n  "
        f"the first run has: {one.describe(index)}\n  the second has:    {other.describe(index)}"
    )


def _named(journal: Journal, index: int) -> str:
    entry = journal.entries[index]
    return journal.names[entry] if isinstance(entry, int) else ""
