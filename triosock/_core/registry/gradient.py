"""A limit of connections that follows their latency: what `AdaptiveLimit` describes.

The invariants:

1. **The ideal latency is measured with hardly anybody there**: only of work that began after the limit was
   put down to its least.
2. **The limit changes once in a window of time, by a factor of 2 at most**, so that one slow answer is not
   yet a trend.
3. **Nothing is done without a sample**: no task, no timer. A limit that nobody reaches need not be right.
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
#: After so many updates at the least limit the ideal is doubted.
LOWEST_UPDATES: Final = 5
#: By which share the time until the next measuring is prolonged at most, by chance: servers that were started
#: together should not measure together.
JITTER: Final = 0.15


@final
class Gradient:
    """Sets how many connections `registry` may have at once, by the latencies that it is told."""

    def __init__(self, config: AdaptiveLimit, registry: Registry, now: float) -> None:
        self._config = config
        self._registry = registry
        #: The latency that is to be expected; nothing until it has been measured.
        self.ideal: float | None = None
        self.limit: float = config.min_connections
        #: What the limit was before the measuring that goes on; None if none does.
        self._before: float | None = None
        self._began = now
        self._window: list[float] = []
        self._window_ends = self._remeasures_at = math.inf
        self._most = 0
        self._lowest = 0
        self._measure(now)

    def note(self, began: float, now: float) -> None:
        """Some work that began at the one time is done at the other."""
        if began < self._began:
            return
        self._window.append(now - began)
        self._most = max(self._most, self._registry.active)
        if self._before is not None:
            if len(self._window) >= self._config.samples:
                self._end_measuring(now)
        elif now >= self._window_ends:
            self._update(now)

    def _measure(self, now: float) -> None:
        self._before, self._began = self.limit, now
        self._window.clear()
        self._set(self._config.min_connections)

    def _end_measuring(self, now: float) -> None:
        assert self._before is not None
        self.ideal = statistics.median(self._window)
        self._remeasures_at = now + self._config.remeasure_every * (1 + random.uniform(0, JITTER))
        before, self._before = self._before, None
        self._lowest = 0
        self._set(before)
        self._begin_window(now)

    def _begin_window(self, now: float) -> None:
        self._window.clear()
        self._most = self._registry.active
        self._window_ends = now + self._config.update_every

    def _update(self, now: float) -> None:
        config, least = self._config, self._config.min_connections
        new = self._next_limit(statistics.median(self._window))
        if new > self.limit and self._most * 2 < self.limit:
            new = self.limit
        self._set(new)
        self._lowest = self._lowest + 1 if self.limit <= least < config.max_connections else 0
        if now >= self._remeasures_at or self._lowest >= LOWEST_UPDATES:
            self._measure(now)
        else:
            self._begin_window(now)

    def _next_limit(self, latency: float) -> float:
        """Return Envoy's: the old limit times the gradient, and a headroom that lets it grow."""
        assert self.ideal is not None
        config = self._config
        # On a virtual clock, or a coarse one, a latency may be nothing.
        gradient = self.ideal * (1 + config.buffer) / latency if latency > 0 else STEEPEST[1]
        limit = self.limit * min(max(gradient, STEEPEST[0]), STEEPEST[1])
        return min(max(limit + math.sqrt(limit), config.min_connections), config.max_connections)

    def _set(self, limit: float) -> None:
        self.limit = limit
        self._registry.set_most(int(limit) if limit < math.inf else limit)
