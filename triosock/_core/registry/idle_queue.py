"""Sessions in the order in which their waits began: who is idle too long, and who has been idle for longest.

The invariant: **the line is in the order of its deadlines**, because all sessions of a server have the same
patience and join at its end. So one task sleeps until the first one's deadline, joining and leaving cost the
same whatever the length, and nobody who has left is kept.

That last point is why this is not the overseer of the connections: its heap keeps each entry until its
shortest timeout is over, which is nothing beside a connection, and without bound beside a million peers that
send one datagram each.
"""

from __future__ import annotations

import math
from typing import Protocol, final

import trio

from ..model.events import Cause
from .registry import Entry
from .timeout_monitor import TARDY


class Waiter(Protocol):
    """One that waits: its entry says for what."""

    @property
    def entry(self) -> Entry:
        """What it is in the registry."""
        raise NotImplementedError


@final
class IdleLine:
    """The waiting sessions of one server, which wait for `patience` seconds each."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[Waiter, float] = {}
        self._joined = trio.Event()

    def __len__(self) -> int:
        return len(self._since)

    def join(self, session: Waiter) -> None:
        """Begin a wait."""
        self._since[session] = trio.current_time()
        self._joined.set()

    def leave(self, session: Waiter) -> None:
        """End it; nothing happens if it does not wait."""
        self._since.pop(session, None)

    def longest(self) -> Waiter | None:
        """Return who has been idle for longest and could be asked to go; None if nobody is idle."""
        for session in self._since:
            if session.entry.is_idle:
                return session
        return None

    async def watch(self) -> None:
        """End the waits that are over, when they are, until cancelled."""
        while self._patience < math.inf:
            while not self._since:
                self._joined = trio.Event()
                await self._joined.wait()
            # Nobody who joins later can be due before the first of the line: see the invariant.
            await self._wait_until(next(iter(self._since.values())) + self._patience)
            self._end_waits(trio.current_time())
        await trio.sleep_forever()

    async def _wait_until(self, when: float) -> None:
        """Sleep until then, and as much longer as the loop stood still: what the peers sent meanwhile is yet
        to be taken from the kernel.
        """
        await trio.sleep_until(when)
        while (late := trio.current_time() - when) > TARDY:
            when = trio.current_time() + min(late, self._patience)
            await trio.sleep_until(when)

    def _end_waits(self, now: float) -> None:
        for session, since in tuple(self._since.items()):
            if since + self._patience > now:
                break
            del self._since[session]
            entry = session.entry
            entry.cause = entry.cause or Cause.IDLE
            if entry.is_idle:
                entry.interrupt(Cause.IDLE)
            else:
                entry.cut(Cause.IDLE)
