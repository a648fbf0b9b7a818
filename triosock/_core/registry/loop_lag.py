"""How late the loop is: measured always, by a timer that is set only while something happens.

What a task waits for when everything is overloaded is its turn: the loop runs all who are ready before it
looks again for what has come. So a timer that should have gone off at a certain moment, and goes off later,
says how long whatever came at that moment had to wait; the same goes for a handler that blocks the loop. The
timeout monitor sleeps until a deadline anyway, and one more of them costs a wake-up.

The invariants:

1. **Nothing happens, nothing is measured**: who has nothing to do is not woken ten times a second. What
   happens is marked by whoever sees it, an accept or the epoll reader, by one attribute.
2. **Something happens, and the next sample is `INTERVAL` away** at most (`HURRY`, if somebody asks for it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from .registry import NEVER

#: From one sample to the next, in seconds. A sample that wakes a loop with nothing else to do was measured to
#: take 0.1 ms of a processor, so ten in a second take a thousandth of one. What happens is marked in 45 ns.
INTERVAL: Final = 0.1
#: The same while new work is shed, when each sample too late keeps work out that could be done.
HURRY: Final = 0.01


def _to_nobody(lag: float) -> None:
    pass


@final
class LagMeter:
    """The lag of one server's loop. The timeout monitor sets the timer."""

    __slots__ = ("due", "hurries", "is_busy", "move_up", "seconds", "stays", "tell")

    def __init__(self) -> None:
        #: The last sample, in seconds; 0 when nothing happens.
        self.seconds: float = 0.0
        #: When the next one is to be taken; NEVER while nothing happens.
        self.due: float = NEVER
        #: Whether something has happened since the last one.
        self.is_busy: bool = False
        #: Whether they are to be taken more often, too.
        self.hurries: bool = False
        #: Whether samples are to be taken, whatever happens.
        self.stays: bool = False
        #: Called with each sample.
        self.tell: Callable[[float], None] = _to_nobody
        #: Called with the time at which whoever sleeps has to be awake.
        self.move_up: Callable[[float], None] = _to_nobody

    def begin(self, now: float) -> None:
        """Measure from now on: something has happened after a time when nothing did."""
        self.due = now + INTERVAL
        self.move_up(self.due)

    def hurry(self, now: float) -> None:
        """Take samples more often until told otherwise, the first of them soon."""
        self.hurries = True
        self.due = min(self.due, now + HURRY)
        self.move_up(self.due)

    def take(self, now: float) -> None:
        """Take the sample that is due, if it is, and set the time of the next."""
        if now < self.due:
            return
        self.seconds = lag = now - self.due
        self.tell(lag)
        if self.hurries:
            self.due = now + HURRY
        elif self.is_busy or self.stays:
            self.is_busy = False
            self.due = now + INTERVAL
        else:
            self.seconds, self.due = 0.0, NEVER
