"""The timeout monitor: one task per server cancels what is overdue.

A cancel scope around every read would cost more than the read. Here a wait costs one attribute write (when it
began), and one task reads these attributes.

The invariants:

1. **Every entry stands in one list, under a time that is not after its next deadline.** At that time the
   entry is checked: if it is overdue, it is cut or its idle wait is ended; if not, it is listed again under
   its real deadline, or under now + its shortest timeout (10 seconds at most, since the heap keeps closed
   entries until then), whichever is first. Since a wait that begins later ends at least the shortest timeout
   later, no deadline can fall before the entry is checked: the cut is exact, though each entry is touched
   only once per shortest timeout.
2. **A wait for the peer is over only if the peer has done nothing.** The clock goes on while the event loop
   is blocked, and what the peer did meanwhile waits in the kernel. So before a wait is ended, the wire is
   asked whether input has arrived or output is possible. If so, a wait that any progress renews (idle, send)
   goes on, and one for the whole (handshake, request, lingering close) is extended by the delay of the check.

There are two lists: a heap of entries that were checked before, and the newcomers in the order in which they
came, which needs no heap. Most connections close before their first check; they cost one item of a dict.

The monitor also sets the timer of the `LagMeter`, since it wakes for deadlines anyway.
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

#: A closed entry stays in the heap until its next check: at most this long, in seconds.
LONGEST_LOOK: Final = 10.0
#: A check that is later than this, in seconds, comes after a blocked event loop.
TARDY: Final = 0.02


def next_deadline(entry: Entry, timeouts: Timeouts) -> tuple[float, Cause | None]:
    """Return when this entry is overdue in its current state, and for which cause; (inf, None) if never.

    The earliest deadline counts. The cause of a lingering close is FINISHED, since the connection was served.
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
    """Return the age, in seconds, before which no connection is too old; inf if there is no maximum."""
    if timeouts.max_age == math.inf:
        return math.inf  # with a jitter of 1 the product is no number, and no timeout would be the shortest
    # A jitter of 1 allows an age of 0, at which entries would be checked without a pause.
    return max(timeouts.max_age * (1 - timeouts.max_age_jitter), min(timeouts.max_age, 0.01))


@final
class TimeoutMonitor:
    """Watches the entries of one server. `watch(entry)` is synchronous and cheap; `run()` is its task."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._shortest = shortest_timeout(timeouts)
        self._newcomers: dict[Entry, float] = {}
        self._heap: list[tuple[float, int, Entry]] = []
        self._looks = itertools.count(1)
        #: When its sleep ends; -inf before `run()`.
        self._wakes = -math.inf
        self._nap = trio.CancelScope()
        #: How late the loop is.
        self.lag: LagMeter = LagMeter()
        self.lag.wake_at = self._wake_at

    def watch(self, entry: Entry) -> None:
        """Watch this entry until it is closed."""
        # Its stage may change at once; no wait that begins from now on can be overdue before this time.
        when = entry.accepted + self._shortest
        if when < math.inf:
            self._newcomers[entry] = when
        lag = self.lag
        lag.is_busy = True
        if lag.due == NEVER:  # as `lag.begin`, without the call
            lag.due = entry.accepted + INTERVAL
            when = min(when, lag.due)
        # Also if the list was not empty: entries with longer timeouts of their own are checked later.
        if when < self._wakes:
            self._wakes = self._nap.deadline = when

    def forget(self, entry: Entry) -> None:
        """Drop an entry that is closed, if it was not checked yet."""
        self._newcomers.pop(entry, None)

    def reconsider(self, entry: Entry) -> None:
        """Check an entry at once, since its timeouts have changed."""
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
            # `watch` moves this deadline if the new entry is due before it.
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
        """Check an entry that was due for a check at the time `wanted`."""
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
            # An idle wait ends as at the end of the stream, so that the handler may end properly. If it waits
            # again, that wait ends at once until the peer sends something.
            entry.interrupt(cause)
        else:
            entry.cut(cause)


def _time_to_add(entry: Entry, cause: Cause, late: float, shortest: float) -> float:
    """Return for how many seconds a wait that is overdue goes on; 0 if the peer has made no progress.

    `late`: the delay of the check, since the event loop was blocked or busy.
    """
    if cause in (Cause.REQUEST, Cause.OVERFLOW) and entry.phase == "working":
        return 0.0
    # During an idle wait another task may send; only input ends the idle wait.
    is_sending = entry.send_since != NEVER and cause is not Cause.IDLE
    progress = entry.has_room() if is_sending else entry.has_input()
    if progress is None:  # not known: only the delay of the loop is
        return min(late, shortest) if late > TARDY else 0.0
    if progress and cause in (Cause.IDLE, Cause.SEND):
        return shortest
    return min(late, shortest) if progress else 0.0
