"""The last happenings of a run, in bounded memory.

The invariant: **discarded happenings are applied to a state**: the ring has the state before its oldest
happening (a keyframe), and applies to it each happening that leaves the ring. So its memory is bounded by the
size of the ring and the number of tasks that have not ended.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import final

from .model import Happening, State


@final
class Ring:
    """Keeps the last `most` happenings; `forgotten` is the number of discarded ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: deque[Happening] = deque()
        self._base = State()
        self.forgotten: int = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, one: Happening) -> None:
        """Keep a happening; discard the oldest one if there is no room."""
        if len(self._kept) >= self._most:
            self._base.apply(self._kept.popleft())
            self.forgotten += 1
        self._kept.append(one)

    def copy(self) -> tuple[State, list[Happening]]:
        """Return the state before the oldest happening, and all happenings that are kept."""
        base = State(
            {number: copy.copy(task) for number, task in self._base.tasks.items()},
            dict(self._base.nurseries),
            self._base.time,
        )
        return base, list(self._kept)
