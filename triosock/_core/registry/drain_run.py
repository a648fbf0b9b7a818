"""One drain of a server, the same for native and compat servers: wait for what is served, then report.

The rules:

1. **Idle waits end at once, busy handlers go on** until the grace period is over; the rest is cut then.
2. **An entry with a time in `spared_until`** may send one more request until then, and a newcomer for
   `NEWCOMER_GRACE` from the moment in which its peer could send.
3. **The report counts what has ended since the drain began**, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol, final

import trio

from ..model.events import Cause
from .drain_report import THE_PEERS, DrainReport, Straggler, describe_slowest
from .drain_scope import DrainScope
from .registry import NEVER, Entry, Tally

#: Seconds that a drain waits for the first byte of a new connection, from the moment when its peer could
#: send: as Go's http.Server.
NEWCOMER_GRACE: Final = 5.0
#: Entries whose time ends within so many seconds are handled together.
_TOGETHER: Final = 0.05


def newcomer_until(entry: Entry, now: float) -> float:
    """Return until when a drain waits for the first byte of a connection; 0 if a byte has come, or the time
    is over. While its peer cannot send yet, that is a time at which to ask again.
    """
    if entry.stage in ("queued", "handshake") or entry.task is None:
        return now + NEWCOMER_GRACE
    if entry.wire.received > entry.header_bytes:
        return 0.0
    until = (entry.accepted if entry.ready_since == NEVER else entry.ready_since) + NEWCOMER_GRACE
    return until if until > now else 0.0


class Drainable(Protocol):
    """What a drain needs: the registry of a server, or the drain target of a compat server."""

    @property
    def tally(self) -> Tally:
        """Its counts."""
        raise NotImplementedError

    def entries(self) -> tuple[Entry, ...]:
        """Return what is served now."""
        raise NotImplementedError

    async def wait_empty(self) -> None:
        """Return when nothing is served any more. A checkpoint."""


@final
class DrainRun:
    """One drain of one server."""

    def __init__(self, drainable: Drainable, scope: DrainScope) -> None:
        self._drainable = drainable
        self._scope = scope
        self._began = trio.current_time()
        self._before = Counter(drainable.tally.ended)
        self._idled_before = drainable.tally.idled
        self._refused_before = drainable.tally.refused["drain"]
        self._turned_away_before = drainable.tally.turned_away
        #: How many connections from the queue were closed at once, for a limit other than the slots.
        self.turned_away = 0
        self._grace = trio.CancelScope()
        self._slowest: tuple[Straggler, ...] = ()

    def tighten(self) -> None:
        """Take over the scope's deadline."""
        self._grace.deadline = min(self._grace.deadline, self._scope.deadline)

    async def wait_completion(self) -> None:
        """End idle waits, wait for busy handlers until the deadline, and cut the rest. Returns when the
        registry is empty. Entries with a time in `spared_until` are waited for until then.

        Cancellation: raises at once, since the tasks of the entries are cancelled by the same scope.
        """
        drainable = self._drainable
        for entry in drainable.entries():
            if not entry.spared_until:
                entry.interrupt(Cause.DRAIN)
        with self._grace:
            self.tighten()
            await self._wait_for_the_spared()
            await drainable.wait_empty()
        if self._grace.cancelled_caught:
            self._slowest = describe_slowest(drainable.entries())
            for entry in drainable.entries():
                entry.cut(Cause.DRAIN)
            await drainable.wait_empty()

    async def _wait_for_the_spared(self) -> None:
        """Wait for one more request of the spared entries, each until its own time; then end their idle
        waits.
        """
        drainable = self._drainable
        if not any(entry.spared_until for entry in drainable.entries()):
            return  # all were notified at the beginning
        while spared := [entry for entry in drainable.entries() if entry.spared_until]:
            with trio.move_on_at(min(entry.spared_until for entry in spared)):
                await drainable.wait_empty()
            now = trio.current_time() + _TOGETHER
            for entry in spared:
                if not entry.gone and 0 < entry.spared_until <= now:
                    entry.spared_until = newcomer_until(entry, now)
                    if not entry.spared_until:
                        entry.interrupt(Cause.DRAIN)
        for entry in drainable.entries():
            entry.interrupt(Cause.DRAIN)

    def report(self, *, drained: bool = True) -> DrainReport:
        """Return what has happened since the beginning."""
        causes = self._drainable.tally.ended - self._before
        idled = self._drainable.tally.idled - self._idled_before
        turned_away = self._drainable.tally.turned_away - self._turned_away_before
        finished = causes[Cause.FINISHED] + causes[Cause.OVERFLOW] + idled - turned_away
        refused = self._drainable.tally.refused["drain"] - self._refused_before
        failed, left = causes[Cause.FAILED], sum(causes[cause] for cause in THE_PEERS) - idled
        return DrainReport(
            finished=finished,
            failed=failed,
            left=left,
            cancelled=causes.total() - finished - failed - left - turned_away,
            refused=refused + turned_away + self.turned_away,
            duration=trio.current_time() - self._began,
            drained=drained,
            slowest=self._slowest,
            causes=dict(causes),
        )
