"""Counts events: for tests, lessons, and totals over several servers.

`server.statistics()` describes one server at one moment, and costs nothing until it is called. This observer
also counts what the statistics do not have: durations of requests and connections, and each kind of event.
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
    """Durations in seconds: their number (`count`), their sum (`total`), the `shortest` (inf if there is
    none) and the `longest` (0.0 if there is none).
    """

    count: int = 0
    total: float = 0.0
    shortest: float = math.inf
    longest: float = 0.0

    @property
    def mean(self) -> float:
        """The mean in seconds; 0.0 if there is none."""
        return self.total / self.count if self.count else 0.0

    def and_one(self, seconds: float) -> Durations:
        """Return the durations with one more, of `seconds`."""
        return Durations(
            self.count + 1, self.total + seconds, min(self.shortest, seconds), max(self.longest, seconds)
        )


@final
class StatisticsObserver:
    """Counts the events of all servers that it is given to. Its memory is bounded, since it keeps only
    numbers.

    `events` counts events by the name of their class, `ended` counts connections by the `Cause` of their end;
    `requests` and `connections` are the `Durations` of those that have ended.
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
