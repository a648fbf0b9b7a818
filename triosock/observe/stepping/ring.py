"""The last happenings of a run, in bounded memory.

The invariant: **forgotten happenings are summed up**: the ring holds the state before the oldest happening
that is kept (a keyframe), and applies to it what leaves the ring. So the memory is that of the ring and of
the living tasks.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import final

from .model import Happening, State


@final
class Ring:
    """Keeps the last `most` happenings; counts the others in `forgotten`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: deque[Happening] = deque()
        self._base = State()
        self.forgotten: int = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, one: Happening) -> None:
        """Keep it; forget the oldest if there is no room."""
        if len(self._kept) >= self._most:
            self._base.apply(self._kept.popleft())
            self.forgotten += 1
        self._kept.append(one)

    def copy(self) -> tuple[State, list[Happening]]:
        """Return the state before the oldest happening that is kept, and all that are."""
        base = State(
            {number: copy.copy(task) for number, task in self._base.tasks.items()},
            dict(self._base.nurseries),
            self._base.time,
        )
        return base, list(self._kept)
