"""Timeouts that are nearly free: one task per server cancels what is overdue.

The naive way, a cancel scope around every read, costs more than the read. Here a wait costs an attribute
write (when it began), and one task, the timeout monitor, reads them.

The invariants:

1. **Every entry stands in one list, under a time that is not after its next deadline.** When that time comes
   the entry is looked at: if it is overdue, it is acted on; if not, it goes back under its real deadline, or
   under now + its shortest timeout (10 seconds at most, for the heap keeps those who are gone until then),
   whichever is first. Since a wait that begins later ends at least the shortest timeout later, no deadline
   can fall before the entry is looked at: the cut is exact, though each entry is touched only once per
   shortest timeout.
2. **A wait for the peer is over only if the peer has done nothing.** The clock goes on while the event loop
   stands still, and what the peer did meanwhile waits in the kernel. So before a wait is ended, what carries
   the bytes is asked: has something come, or is there room again. If so, a wait that any progress renews
   (idle, send) goes on, and a time for the whole (handshake, request, the peer's end of stream) is prolonged
   by as much as the look came too late.

There are two lists: a heap of those who have been looked at, and in front of it the newcomers, who stand in
the order in which they came, and so need no heap. Most connections are gone before their first look; they
cost one entry in a dict.

The monitor also sets the timer of the `LagMeter`, for it is awake anyway.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import Final, final

import trio

from ..model.config import Timeouts
from ..model.events import Cause
from .loop_lag import INTERVAL, LagMeter
from .registry import NEVER, Entry

#: Whoever is gone stands in the heap, with all that it had, until it is looked at: not longer than this, in
#: seconds.
LONGEST_LOOK: Final = 10.0
#: A look that comes later than this, in seconds, comes after a stall of the loop.
TARDY: Final = 0.02


def next_deadline(entry: Entry, timeouts: Timeouts) -> tuple[float, Cause | None]:
    """Return when this entry is overdue as things stand now, and for which cause; (inf, None) if never.

    The tightest deadline wins. The cause of the last wait of a connection, its lingering close, is
    FINISHED: it has been served.
    """
    if entry.stage == "handshake":
        waits = [(entry.handshake_since + timeouts.handshake, Cause.HANDSHAKE)]
    elif entry.stage == "closing":
        waits = [(entry.closing_since + timeouts.close, Cause.FINISHED)]
    else:
        # In an idle block two waits are noted, and the block's began first. Once a request has begun in it,
        # only the wait for more bytes counts.
        idle_since = entry.idle_since if entry.request_since == NEVER else NEVER
        waits = [
            (min(idle_since, entry.receive_since) + timeouts.idle, Cause.IDLE),
            (entry.send_since + timeouts.send, Cause.SEND),
            (entry.request_due, Cause.REQUEST),
        ]
    when, cause = min((entry.due, Cause.OVERFLOW), *waits)
    return (when, cause) if when < math.inf else (math.inf, None)


def shortest_timeout(timeouts: Timeouts) -> float:
    """Return the shortest of the waits that these timeouts bound, `LONGEST_LOOK` at most; inf if none is."""
    t = timeouts
    waits = [t.handshake, t.idle, t.request, t.send, t.close]
    # `close=0` never waits, so it is no shortest timeout.
    shortest = min(youngest_age(t), *(wait for wait in waits if wait > 0))
    return min(shortest, LONGEST_LOOK) if shortest < math.inf else math.inf


def youngest_age(timeouts: Timeouts) -> float:
    """Return the age, in seconds, before which no connection is too old."""
    # A jitter of 1 allows an age of nothing, at which nobody is looked at again and again.
    return max(timeouts.max_age * (1 - timeouts.max_age_jitter), min(timeouts.max_age, 0.01))


@final
class TimeoutMonitor:
    """Watches the entries of one server. `watch(entry)` is synchronous and cheap; `run()` is the one task."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._shortest = shortest_timeout(timeouts)
        self._newcomers: dict[Entry, float] = {}
        self._heap: list[tuple[float, int, Entry]] = []
        self._looks = itertools.count(1)
        #: When the nap ends. Before `run()` there is none that could be too long.
        self._wakes = -math.inf
        self._nap = trio.CancelScope()
        #: How late the loop is.
        self.lag: LagMeter = LagMeter()
        self.lag.move_up = self._wake_at

    def watch(self, entry: Entry) -> None:
        """Look after this entry until it is gone."""
        # Its stage may change at once; no wait that begins from now on can be overdue before this time.
        when = entry.accepted + self._shortest
        if when < math.inf:
            self._newcomers[entry] = when
        lag = self.lag
        lag.is_busy = True
        if lag.due == NEVER:  # as `lag.begin`, without the call
            lag.due = entry.accepted + INTERVAL
            when = min(when, lag.due)
        # Not only if there was nobody: those with longer timeouts of their own are looked at later.
        if when < self._wakes:
            self._wakes = self._nap.deadline = when

    def forget(self, entry: Entry) -> None:
        """Do not keep one that is gone any longer than need be."""
        self._newcomers.pop(entry, None)

    def reconsider(self, entry: Entry) -> None:
        """Its timeouts have changed: look at it at once, and from then on by its new ones."""
        self._newcomers.pop(entry, None)
        now = entry.now()
        self._put(entry, now)
        self._wake_at(now)

    def _wake_at(self, when: float) -> None:
        if when < self._wakes:
            self._wakes = self._nap.deadline = when

    async def run(self) -> None:
        """Cut what is overdue, when it is, until cancelled."""
        while True:
            # What is added later moves the deadline itself if it is due before that.
            self._wakes = when = self._next()
            with trio.CancelScope(deadline=when) as self._nap:
                await trio.sleep_forever()
            now = trio.current_time()
            self.lag.take(now)
            self._look(now)

    def _next(self) -> float:
        when = min(self._heap[0][0], self.lag.due) if self._heap else self.lag.due
        if self._newcomers:
            when = min(when, next(iter(self._newcomers.values())))
        return when

    def _put(self, entry: Entry, when: float) -> None:
        entry.next_look = look = next(self._looks)
        heapq.heappush(self._heap, (when, look, entry))

    def _look(self, now: float) -> None:
        for entry in [*itertools.takewhile(lambda one: self._newcomers[one] <= now, self._newcomers)]:
            self._look_at(entry, now, self._newcomers.pop(entry))
        while self._heap and self._heap[0][0] <= now:
            wanted, look, entry = heapq.heappop(self._heap)
            if look == entry.next_look:
                self._look_at(entry, now, wanted)

    def _look_at(self, entry: Entry, now: float, wanted: float) -> None:
        """Look at an entry that should have been looked at at the time `wanted`."""
        if entry.gone:
            return
        own = entry.timeouts
        timeouts, shortest = (self._timeouts, self._shortest) if own is None else (own, shortest_timeout(own))
        when, cause = next_deadline(entry, timeouts)
        if when <= now and cause is not None:
            more = _time_to_add(entry, cause, now - wanted, shortest)
            if not more:
                self._act(entry, cause)
            when = now + more if more else math.inf
        if entry.retires_at <= now:
            entry.retire(timeouts.idle_grace)
        if (again := min(when, entry.retires_at, now + shortest)) < math.inf:
            self._put(entry, again)

    def _act(self, entry: Entry, cause: Cause) -> None:
        if cause is Cause.IDLE and entry.is_idle:
            # An idle wait ends like the end of the stream, so that the handler may end it properly. If it
            # goes back to waiting, that wait ends at once, as long as the peer sends nothing.
            entry.interrupt(cause)
        else:
            entry.cut(cause)


def _time_to_add(entry: Entry, cause: Cause, late: float, shortest: float) -> float:
    """Return how long a wait that is overdue goes on, in seconds; 0 if its end is the peer's doing.

    `late`: by how much the look at it came too late, since the loop stood still or was busy.
    """
    if cause in (Cause.REQUEST, Cause.OVERFLOW) and entry.phase == "working":
        return 0.0
    # Beside an idle wait another task may send; what has come is what the wait is for.
    is_sending = entry.send_since != NEVER and cause is not Cause.IDLE
    progress = entry.has_room() if is_sending else entry.has_input()
    if progress is None:  # nobody can tell: then the loop's own delay is all that is known
        return min(late, shortest) if late > TARDY else 0.0
    if progress and cause in (Cause.IDLE, Cause.SEND):
        return shortest
    return min(late, shortest) if progress else 0.0
