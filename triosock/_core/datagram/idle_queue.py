"""The idle time of sessions: the waiting sessions in the order in which their waits began.

The invariant: **the queue is in the order of its deadlines**, because all sessions of a server have the same
idle time and join at its end. So one task sleeps until the first deadline, joining and leaving take constant
time, and a session that has left is not kept.

The timeout monitor of connections is not used here: its heap keeps each entry until its shortest timeout is
over, which is little beside a connection, and has no bound with a million peers that send one datagram each.
"""

from __future__ import annotations

import math
from typing import final

import trio

from ..model.events import Cause
from ..registry.registry import Entry
from ..registry.timeout_monitor import TARDY


@final
class IdleQueue:
    """The waiting sessions of one server, which wait for `patience` seconds each."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[Entry, float] = {}
        self._joined = trio.Event()

    def __len__(self) -> int:
        return len(self._since)

    def join(self, entry: Entry) -> None:
        """Begin a wait."""
        self._since[entry] = trio.current_time()
        self._joined.set()

    def leave(self, entry: Entry) -> None:
        """End it; nothing happens if it does not wait."""
        self._since.pop(entry, None)

    def longest(self) -> Entry | None:
        """Return the entry that has been idle for longest; None if none is idle."""
        for entry in self._since:
            if entry.is_idle:
                return entry
        return None

    async def watch(self) -> None:
        """End the waits that are over, when they are, until cancelled."""
        while self._patience < math.inf:
            while not self._since:
                self._joined = trio.Event()
                await self._joined.wait()
            # No later session can be due before the first of the queue: see the invariant.
            await self._wait_until(next(iter(self._since.values())) + self._patience)
            self._end_waits(trio.current_time())
        await trio.sleep_forever()

    async def _wait_until(self, when: float) -> None:
        """Sleep until then, and longer by the time that the loop was blocked: datagrams that came meanwhile
        are still in the kernel.
        """
        await trio.sleep_until(when)
        while (late := trio.current_time() - when) > TARDY:
            when = trio.current_time() + min(late, self._patience)
            await trio.sleep_until(when)

    def _end_waits(self, now: float) -> None:
        for entry, since in tuple(self._since.items()):
            if since + self._patience > now:
                break
            del self._since[entry]
            entry.cause = entry.cause or Cause.IDLE
            if entry.is_idle:
                entry.interrupt(Cause.IDLE)
            else:
                entry.cut(Cause.IDLE)
