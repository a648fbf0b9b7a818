"""Timeouts that are nearly free: one task per server cancels what is overdue.

The naive way, a cancel scope around every read, costs more than the read. Here a wait costs an attribute
write (when it began), and one task, the overseer, reads them.

The invariant: **every entry stands in one list, under a time that is not after its next deadline.** When
that time comes the entry is looked at: if it is overdue, it is acted on; if not, it goes back under its real
deadline, or under now + the shortest timeout of the server (10 seconds at most, for the heap keeps those who
are gone until then), whichever is first. Since a wait that begins later ends at least the shortest timeout
later, no deadline can fall before the entry is looked at: the cut is exact, though each entry is touched only
once per shortest timeout.

There are two lists: a heap of those who have been looked at, and in front of it the newcomers, who stand in
the order in which they came, and so need no heap. Most connections are gone before their first look; they
cost one entry in a dict.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING, Final, final

import trio

from ..model.events import Cause

if TYPE_CHECKING:
    from ..model.config import Timeouts
    from .registry import Entry


#: Whoever is gone stands in the heap, with all that it had, until it is looked at: not longer than this, in
#: seconds.
LONGEST_LOOK: Final = 10.0


def next_deadline(entry: Entry, timeouts: Timeouts) -> tuple[float, Cause | None]:
    """Return when this entry is overdue as things stand now, and for which cause; (inf, None) if never.

    The tightest deadline wins. The cause of the last wait of a connection, for its peer's goodbye, is
    FINISHED: it has been served.
    """
    if entry.stage == "handshake":
        waits = [(entry.handshake_since + timeouts.handshake, Cause.HANDSHAKE)]
    elif entry.stage == "closing":
        waits = [(entry.closing_since + timeouts.close, Cause.FINISHED)]
    else:
        waits = [
            # In an idle block both are set; the block began first.
            (min(entry.idle_since, entry.receive_since) + timeouts.idle, Cause.IDLE),
            (entry.send_since + timeouts.send, Cause.SEND),
            (entry.request_due, Cause.REQUEST),
        ]
    when, cause = min((entry.due, Cause.OVERFLOW), *waits)
    return (when, cause) if when < math.inf else (math.inf, None)


@final
class Overseer:
    """Watches the entries of one server. `watch(entry)` is synchronous and cheap; `run()` is the one task."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        t = timeouts
        waits = [t.handshake, t.idle, t.request, t.send, t.close]
        # `close=0` never waits, so it is no shortest timeout.
        self._shortest = min(wait for wait in waits if wait > 0)
        if self._shortest < math.inf:
            self._shortest = min(self._shortest, LONGEST_LOOK)
        self._newcomers: dict[Entry, float] = {}
        self._heap: list[tuple[float, int, Entry]] = []
        self._work: trio.Event | None = None

    def watch(self, entry: Entry) -> None:
        """Look after this entry until it is gone."""
        if self._shortest == math.inf:
            return
        # Its stage may change at once; no wait that begins from now on can be overdue before this time.
        self._newcomers[entry] = entry.accepted + self._shortest
        if self._work is not None:
            self._work.set()
            self._work = None

    def forget(self, entry: Entry) -> None:
        """Do not keep one that is gone any longer than need be."""
        self._newcomers.pop(entry, None)

    async def run(self) -> None:
        """Cut what is overdue, when it is, until cancelled."""
        while True:
            while (when := self._next()) == math.inf:
                self._work = trio.Event()
                await self._work.wait()
            # Nothing that is added later can be due before that: see the invariant.
            await trio.sleep_until(when)
            self._look(trio.current_time())

    def _next(self) -> float:
        when = self._heap[0][0] if self._heap else math.inf
        if self._newcomers:
            when = min(when, next(iter(self._newcomers.values())))
        return when

    def _look(self, now: float) -> None:
        for entry in [*itertools.takewhile(lambda one: self._newcomers[one] <= now, self._newcomers)]:
            del self._newcomers[entry]
            self._look_at(entry, now)
        while self._heap and self._heap[0][0] <= now:
            self._look_at(heapq.heappop(self._heap)[2], now)

    def _look_at(self, entry: Entry, now: float) -> None:
        if entry.gone:
            return
        when, cause = next_deadline(entry, self._timeouts)
        if when <= now and cause is not None:
            self._act(entry, cause)
            when = math.inf
        heapq.heappush(self._heap, (min(when, now + self._shortest), entry.number, entry))

    def _act(self, entry: Entry, cause: Cause) -> None:
        if cause is Cause.IDLE and entry.is_idle:
            # An idle wait ends like the end of the stream, so that the handler may say goodbye. It has been
            # warned: if it goes back to waiting, that wait ends at once, and what it does instead is bound by
            # the other timeouts.
            entry.cause = entry.cause or cause
            entry.interrupt(cause)
        else:
            entry.cut(cause)
