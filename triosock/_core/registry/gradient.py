"""A limit of connections that follows their latency: what `AdaptiveLimit` describes.

The invariants:

1. **The ideal latency is measured with hardly any load**: only of work that began after the limit was lowered
   to its minimum.
2. **The limit changes once in a window.** It is doubled at most, with a headroom on top, and loses a quarter
   at most. A window has ten latencies and lasts for twice as long as one, so that what is seen in it is due
   to the limit that holds, and not to the one before or to chance.
3. **The limit is one of work.** A connection whose handler has ended, and which waits for its peer to close,
   rests: it is not counted, as it is no part of the latency. Otherwise the work stops when all places are
   taken by such connections, and no latency shows it.
4. **An outdated ideal is noticed**: if the limit has fallen by half and latency has not, there is no queue
   that could have become shorter. Then, and when the limit stays at its least, the ideal is measured anew,
   though not for more than a twentieth of the time.
5. **Nothing is done without a sample**: no task, no timer. A limit that is not reached need not be right.
"""

from __future__ import annotations

import math
import random
import statistics
from typing import Final, final

from ..model.adaptive_limit import AdaptiveLimit
from .registry import Registry

#: By what the limit is multiplied at most and at least in one update.
STEEPEST: Final = (0.5, 2.0)
#: The share of a decrease that is not applied.
SMOOTHING: Final = 0.5
#: After so many updates at the least limit the ideal is measured anew.
LOWEST_UPDATES: Final = 5
#: A doubted ideal is measured anew only after so many times the duration of the last measurement, in which
#: the server did less than it could.
MEASURING_SHARE: Final = 20
#: A latency above this share of the earlier one counts as unchanged. If it was due to a queue, it is about
#: half of that.
UNCHANGED: Final = 0.85
#: A window has so many latencies at least, and lasts for so many times the last one's median, as in Netflix's
#: concurrency-limits. It is `LONGEST_WINDOW` times `update_every` at most, then with any number of latencies.
LEAST_SAMPLES: Final = 10
LATENCIES_PER_WINDOW: Final = 2
LONGEST_WINDOW: Final = 10
#: By which share the time until the next measuring is prolonged at most, by chance: servers that were started
#: together should not measure together.
JITTER: Final = 0.15


@final
class Gradient:
    """Sets the limit of connections of `registry` by their latencies."""

    def __init__(self, config: AdaptiveLimit, registry: Registry, now: float) -> None:
        self._config = config
        self._registry = registry
        #: Entries that have a slot, and whose work is done.
        self._resting: set[object] = set()
        #: The latency that is to be expected; nothing until it has been measured.
        self.ideal: float | None = None
        self.limit: float = config.min_connections
        #: The limit before the current measuring; None if there is none.
        self._before: float | None = None
        self._began = now
        self._window: list[float] = []
        self._window_ends = self._window_must_end = self._remeasures_at = math.inf
        self._most = 0
        self._lowest = 0
        self._doubted_from = -math.inf
        #: The limit and the latency at which a fall of the limit began.
        self._fall: tuple[float, float] | None = None
        self._measure(now)

    def note(self, began: float, now: float) -> None:
        """Note work that lasted from `began` to `now`."""
        if began < self._began:
            return
        self._window.append(now - began)
        self._most = max(self._most, self._count_work())
        if self._before is not None:
            if len(self._window) >= self._config.samples:
                self._end_measuring(now)
        elif now >= self._window_ends and (
            len(self._window) >= LEAST_SAMPLES or now >= self._window_must_end
        ):
            self._update(now)

    def begin_rest(self, entry: object) -> None:
        """The work of an entry is done, though it keeps its slot."""
        self._resting.add(entry)
        self._apply()

    def end_rest(self, entry: object) -> None:
        """An entry is about to give up its slot. Nothing happens if it was not resting."""
        if entry in self._resting:
            self._resting.remove(entry)
            self._apply()

    @property
    def most(self) -> float:
        """The limit as a whole number."""
        return int(self.limit) if self.limit < math.inf else self.limit

    def _count_work(self) -> int:
        return self._registry.active - len(self._resting)

    def _measure(self, now: float) -> None:
        self._before, self._began = self.limit, now
        self._window.clear()
        self._set(self._config.min_connections)

    def _end_measuring(self, now: float) -> None:
        assert self._before is not None
        self.ideal = statistics.median(self._window)
        self._remeasures_at = now + self._config.remeasure_every * (1 + random.uniform(0, JITTER))
        self._doubted_from = now + MEASURING_SHARE * (now - self._began)
        before, self._before = self._before, None
        self._lowest = 0
        self._fall = None
        self._set(before)
        self._begin_window(now, self.ideal)

    def _begin_window(self, now: float, latency: float) -> None:
        self._window.clear()
        self._most = self._count_work()
        shortest = self._config.update_every
        self._window_must_end = now + shortest * LONGEST_WINDOW
        self._window_ends = min(now + max(shortest, latency * LATENCIES_PER_WINDOW), self._window_must_end)

    def _update(self, now: float) -> None:
        config, least = self._config, self._config.min_connections
        latency = statistics.median(self._window)
        slower = self._has_become_slower(latency)
        new = self._next_limit(latency)
        if new > self.limit and self._most * 2 < self.limit:
            new = self.limit
        self._set(new)
        self._lowest = self._lowest + 1 if self.limit <= least < config.max_connections else 0
        is_doubted = slower or self._lowest >= LOWEST_UPDATES
        if now >= self._remeasures_at or (is_doubted and now >= self._doubted_from):
            self._measure(now)
        else:
            self._begin_window(now, latency)

    def _has_become_slower(self, latency: float) -> bool:
        """Whether latency has stayed the same though the limit has fallen by half: then no connection waits
        for others, and everything takes longer than when the ideal was measured.
        """
        assert self.ideal is not None
        if latency <= self.ideal * (1 + self._config.buffer):
            self._fall = None
        elif self._fall is None or self.limit > self._fall[0]:
            self._fall = self.limit, latency
        elif self.limit <= self._fall[0] / 2:
            return latency > self._fall[1] * UNCHANGED
        return False

    def _next_limit(self, latency: float) -> float:
        """Return the next limit by Envoy's rule: the old one times the gradient, and a headroom that lets it
        grow. Only half of a decrease is applied, since a median of ten is often long by chance.
        """
        assert self.ideal is not None
        config = self._config
        # On a virtual clock, or a coarse one, a latency may be nothing.
        gradient = self.ideal * (1 + config.buffer) / latency if latency > 0 else STEEPEST[1]
        new = self.limit * min(max(gradient, STEEPEST[0]), STEEPEST[1]) + math.sqrt(self.limit)
        if new < self.limit:
            new += (self.limit - new) * SMOOTHING
        return min(max(new, config.min_connections), config.max_connections)

    def _set(self, limit: float) -> None:
        self.limit = limit
        self._apply()

    def _apply(self) -> None:
        self._registry.set_most(self.most + len(self._resting))
