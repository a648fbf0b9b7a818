"""The last part of a server's life, the same for native and compat servers: wait until all is done, then say
how it went.

The rules:

1. **What is idle ends at once, what is busy is left alone** until the grace is over; the rest is cut then.
2. **A peer that may still send one request** (`spared_until`) is waited for until its own time.
3. **The report counts what has ended since the drain began**, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, final

import trio

from ..model.events import Cause
from .drain_report import THE_PEERS, DrainReport, Straggler, describe_slowest
from .drain_scope import DrainScope
from .registry import Registry

#: How long, from when it could send, a peer that has sent nothing yet may take for its first byte in a drain:
#: Go's http.Server gives a new connection as long.
NEWCOMER_GRACE: Final = 5.0
#: Those whose time for that ends within so many seconds are told together.
_TOGETHER: Final = 0.05


@final
class DrainRun:
    """One drain of one server."""

    def __init__(self, registry: Registry, scope: DrainScope) -> None:
        self._registry = registry
        self._scope = scope
        self._began = trio.current_time()
        self._before = Counter(registry.tally.ended)
        self._idled_before = registry.tally.idled
        self._refused_before = registry.tally.refused["drain"]
        #: How many came out of the queue and were closed at once, for a limit other than that of the slots.
        self.turned_away = 0
        self._grace = trio.CancelScope()
        self._slowest: tuple[Straggler, ...] = ()

    def tighten(self) -> None:
        """Take over the scope's deadline."""
        self._grace.deadline = min(self._grace.deadline, self._scope.deadline)

    async def wait_completion(self) -> None:
        """End idle waits, wait for the busy until the deadline, cut off the rest. Returns when the registry
        is empty. Those with a time in `spared_until` are waited for until then.

        Cancelled, it returns to whoever cancels: the tasks of the registry are cancelled from around, too.
        """
        registry = self._registry
        for entry in registry.entries():
            if not entry.spared_until:
                entry.interrupt(Cause.DRAIN)
        with self._grace:
            self.tighten()
            await self._wait_for_the_spared()
            await registry.wait_empty()
        if self._grace.cancelled_caught:
            self._slowest = describe_slowest(registry.entries())
            for entry in registry.entries():
                entry.cut(Cause.DRAIN)
            await registry.wait_empty()

    async def _wait_for_the_spared(self) -> None:
        """Wait for one more request of those who may send one, each until its own time; then end their idle
        waits.
        """
        registry = self._registry
        while spared := [entry for entry in registry.entries() if entry.spared_until]:
            with trio.move_on_at(min(entry.spared_until for entry in spared)):
                await registry.wait_empty()
            now = trio.current_time() + _TOGETHER
            for entry in spared:
                if not entry.gone and 0 < entry.spared_until <= now:
                    entry.spared_until = 0.0
                    entry.interrupt(Cause.DRAIN)
        for entry in registry.entries():
            entry.interrupt(Cause.DRAIN)

    def report(self, *, drained: bool = True) -> DrainReport:
        """Return what has happened since the beginning."""
        causes = self._registry.tally.ended - self._before
        idled = self._registry.tally.idled - self._idled_before
        finished = causes[Cause.FINISHED] + causes[Cause.OVERFLOW] + idled
        failed, left = causes[Cause.FAILED], sum(causes[cause] for cause in THE_PEERS) - idled
        return DrainReport(
            finished=finished,
            failed=failed,
            left=left,
            cancelled=causes.total() - finished - failed - left,
            refused=self._registry.tally.refused["drain"] - self._refused_before + self.turned_away,
            duration=trio.current_time() - self._began,
            drained=drained,
            slowest=self._slowest,
            causes=dict(causes),
        )
