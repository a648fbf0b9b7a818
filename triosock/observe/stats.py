"""Counts events: for tests, lessons, and the numbers of several servers together.

What one server looks like now is `server.statistics()`, which costs nothing until it is asked. This observer
is for what that cannot know: how long requests took, and what happened before.
"""

from __future__ import annotations

import collections
import math
from typing import final

import attrs

from .._core.model.events import Cause, ConnectionClosed, Event, RequestFinished


@final
@attrs.frozen
class Durations:
    """How long something took, in seconds: `count` times, `total` together; `shortest` is inf if never."""

    count: int = 0
    total: float = 0.0
    shortest: float = math.inf
    longest: float = 0.0

    @property
    def mean(self) -> float:
        """The mean; 0.0 if there was none."""
        return self.total / self.count if self.count else 0.0

    def and_one(self, seconds: float) -> Durations:
        """Return the same with one more."""
        return Durations(
            self.count + 1, self.total + seconds, min(self.shortest, seconds), max(self.longest, seconds)
        )


@final
class StatisticsObserver:
    """Counts the events of all servers that it is given to. Bounded memory: numbers only.

    `events` counts by the name of the event's class, `ended` connections by `Cause`; `requests` and
    `connections` say how long they took.
    """

    def __init__(self) -> None:
        self.events: collections.Counter[str] = collections.Counter()
        self.ended: collections.Counter[Cause] = collections.Counter()
        self.requests: Durations = Durations()
        self.connections: Durations = Durations()

    def on_event(self, event: Event, /) -> None:
        """Count one event."""
        self.events[type(event).__name__] += 1
        if isinstance(event, RequestFinished):
            self.requests = self.requests.and_one(event.duration)
        elif isinstance(event, ConnectionClosed):
            self.ended[event.cause] += 1
            self.connections = self.connections.and_one(event.duration)
