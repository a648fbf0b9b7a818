"""Measures the lag of the loop, by a timer that is set only while there is activity.

Under overload a task waits until the loop has run all other runnable tasks. So the delay of a timer is the
time that an event which arrived at its deadline had to wait; the same is true for a handler that blocks the
loop. The timeout monitor sleeps until a deadline anyway, and one more deadline costs a wake-up.

The invariants:

1. **Without activity nothing is measured**: an idle server is not woken ten times a second. An accept and
   the epoll reader note activity by setting one attribute.
2. **With activity the next sample is at most `INTERVAL` away** (`SHORT_INTERVAL` after `sample_often()`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from .registry import NEVER

#: Seconds from one sample to the next. A sample that wakes an idle loop was measured to take 0.1 ms of a
#: processor, so ten in a second take a thousandth of one. Noting activity takes 45 ns.
INTERVAL: Final = 0.1
#: The same while new work is shed, when a late sample refuses work that could be done.
SHORT_INTERVAL: Final = 0.01


def _ignore(lag: float) -> None:
    pass


@final
class LagMeter:
    """The lag of one server's loop. The timeout monitor sets the timer."""

    __slots__ = ("due", "is_busy", "samples_often", "seconds", "stays", "tell", "wake_at")

    def __init__(self) -> None:
        #: The last sample, in seconds; 0 without activity.
        self.seconds: float = 0.0
        #: The time of the next sample; NEVER without activity.
        self.due: float = NEVER
        #: Whether there was activity since the last sample.
        self.is_busy: bool = False
        #: Whether the short interval is in force.
        self.samples_often: bool = False
        #: Whether samples are taken also without activity.
        self.stays: bool = False
        #: Called with each sample.
        self.tell: Callable[[float], None] = _ignore
        #: Called with the time at which the timeout monitor must wake.
        self.wake_at: Callable[[float], None] = _ignore

    def begin(self, now: float) -> None:
        """Measure from now on: there is activity again."""
        self.due = now + INTERVAL
        self.wake_at(self.due)

    def sample_often(self, now: float) -> None:
        """Take samples at the short interval from now on."""
        self.samples_often = True
        self.due = min(self.due, now + SHORT_INTERVAL)
        self.wake_at(self.due)

    def take(self, now: float) -> None:
        """Take a sample if it is due, and set the time of the next."""
        if now < self.due:
            return
        self.seconds = lag = now - self.due
        self.tell(lag)
        if self.samples_often:
            self.due = now + SHORT_INTERVAL
        elif self.is_busy or self.stays:
            self.is_busy = False
            self.due = now + INTERVAL
        else:
            self.seconds, self.due = 0.0, NEVER
