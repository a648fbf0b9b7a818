"""The ring, the numbers and the clock that all instruments of one recorder share.

Several threads may have a trio run each, so all access to the ring is under a lock.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import final

from .model import Happening, State
from .ring import Ring
from .stacks import Stacks


@final
class Keeper:
    """Takes happenings, and keeps the last `most`. `place_run` takes the time of a trio run's clock, and
    returns its offset to the times of the recording.
    """

    def __init__(self, most: int, place_run: Callable[[float], float]) -> None:
        self._ring = Ring(most)
        self._lock = threading.Lock()
        self._tasks = itertools.count(1)
        self._nurseries = itertools.count(1)
        self.stacks: Stacks = Stacks()
        self.place_run: Callable[[float], float] = place_run
        self.stopped: bool = False

    def next_task(self) -> int:
        """Return the number of a new task."""
        return next(self._tasks)

    def next_nursery(self) -> int:
        """Return the number of a new nursery."""
        return next(self._nurseries)

    def add(self, one: Happening) -> None:
        """Keep a happening, unless the recorder has stopped."""
        with self._lock:
            if not self.stopped:
                self._ring.add(one)

    def copy(self) -> tuple[State, list[Happening], int]:
        """Return a state, the happenings after it, and the number of discarded happenings before it."""
        with self._lock:
            return (*self._ring.copy(), self._ring.forgotten)
