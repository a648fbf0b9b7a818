"""Whether the machine is as it mostly is: a fixed piece of work, timed before and after each sample.

A virtual processor may share its core with a stranger's, and is then slower by half, for seconds or for
hours, though nothing on this machine shows it. Two samples on both sides of such a change make a ratio that
says nothing. So a sample is taken while the fixed piece of work takes about as long as it mostly does, and
taken again if it no longer does afterwards.

The invariant: **what a sample says has no part in whether it is kept.** Only the fixed piece of work has; a
sample that failed is always kept.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from statistics import median
from time import monotonic, perf_counter, sleep
from typing import Any, Final

Sample = dict[str, Any]

#: How many times slower or faster than mostly the machine may be. A core that is shared is 1.3 to 1.8 times
#: slower; the timings of one that is not lie within a few percent.
TOLERATED: Final = 1.12
#: From how many looks it is known what it mostly is. As many are taken at the beginning: a second.
LOOKS: Final = 99
#: Between two looks at a machine that is not as it mostly is, in seconds.
PAUSE: Final = 0.2
#: How long a whole run may wait, in seconds: a machine that has become slower for good is measured as it is.
RESERVE: Final = 100.0


def piece_of_work() -> None:
    """About five milliseconds of nothing but the interpreter."""
    total = 0
    for number in range(100_000):
        total += number


class Calm:
    """Times `work` on each of `processors`, and remembers how long it mostly took on each."""

    def __init__(
        self,
        processors: Iterable[int],
        *,
        work: Callable[[], None] = piece_of_work,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        #: How long may be waited for the machine in the whole run from now on, in seconds.
        self.reserve: float = RESERVE
        self._work, self._clock = work, clock
        self._seen: dict[int, deque[float]] = {number: deque(maxlen=LOOKS) for number in processors}
        for _ in range(LOOKS):
            self.strangeness()

    def strangeness(self) -> float:
        """How many times slower or faster than mostly, on the processor where that is most; from 1 on."""
        before = os.sched_getaffinity(0)
        try:
            return max(self._strangeness_of(processor) for processor in self._seen)
        finally:
            os.sched_setaffinity(0, before)

    def _strangeness_of(self, processor: int) -> float:
        os.sched_setaffinity(0, {processor})
        took = min(self._timed(), self._timed())  # of two, since one may be interrupted
        seen = self._seen[processor]
        seen.append(took)
        usual = median(seen)
        return max(took / usual, usual / took)

    def _timed(self) -> float:
        began = self._clock()
        self._work()
        return self._clock() - began


def take_calmly(
    take: Callable[[], Sample],
    calm: Calm,
    patience: float,
    *,
    clock: Callable[[], float] = monotonic,
    wait: Callable[[float], None] = sleep,
) -> Sample:
    """One sample from `take`, of a machine that is as it mostly is, before and after. When `patience`, in
    seconds, is used up, the next one is kept in any case; if it is not such a one, it has the figure
    `disturbed`.
    """
    began = clock()
    until = began + min(patience, calm.reserve)
    while True:
        # Nothing tells when a stranger's work is done.
        while (before := calm.strangeness()) > TOLERATED and clock() < until:
            wait(PAUSE)
        calm.reserve -= clock() - began
        began = clock()
        sample = take()
        if "error" in sample or max(before, calm.strangeness()) <= TOLERATED:
            return sample
        if clock() >= until:
            return sample | {"disturbed": 1.0}
