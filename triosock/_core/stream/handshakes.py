"""The places for handshakes, and what silent clients can do to them: nothing.

The invariants:

1. **Who has not said a byte holds no place.** So `Limits.max_handshakes` counts those on whom work is done,
   and those who wait their turn, in order, have said something, too.
2. **No more wait in silence than may shake hands**, and no more than half of the connections that may be
   served: one more cuts the one that has been silent the longest. An honest client sends its first byte right
   behind its connection, so that at 200 silent ones a second, and 100 places, it would have to be half a
   second late to be cut.

So an honest client waits for nobody who is silent. Before a byte is there to be taken, only a socket can be
asked for it: connections over other streams take their places at once.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from typing import final

import trio

from ..model.config import Limits
from ..model.emitter import Emitter
from ..model.events import Cause, Refused
from ..registry.registry import Entry, Registry
from ..transport.socket import SocketWire
from .connection import Connection


@final
class Handshakes:
    """The places of one server, as many as `Limits.max_handshakes`."""

    def __init__(self, limits: Limits, registry: Registry, emitter: Emitter) -> None:
        most = limits.max_handshakes
        self._places: contextlib.AbstractAsyncContextManager[object] = (
            contextlib.nullcontext() if most == math.inf else trio.CapacityLimiter(most)
        )
        self._most_silent = min(most, max(1.0, limits.max_connections / 2))
        self._registry = registry
        self._emitter = emitter
        #: Those who wait for their peers' first byte, in the order in which they began to.
        self._silent: dict[Entry, SocketWire] = {}

    @contextlib.asynccontextmanager
    async def place(self, connection: Connection) -> AsyncIterator[None]:
        """Hold a place in the block, once the peer has said something and it is its turn."""
        if isinstance(connection.wire, SocketWire):
            await self._wait_first_byte(connection.entry, connection.wire)
        async with self._places:
            yield

    async def _wait_first_byte(self, entry: Entry, wire: SocketWire) -> None:
        if wire.has_input():
            return
        if len(self._silent) + 1 > self._most_silent:
            self._cut_one()
        self._silent[entry] = wire
        try:
            await wire.wait_input()
        finally:
            self._silent.pop(entry, None)

    def _cut_one(self) -> None:
        """Cut the one that has been silent the longest; those who turn out to have spoken are let through."""
        while self._silent:
            entry, wire = next(iter(self._silent.items()))
            del self._silent[entry]
            if not wire.has_input():
                self._registry.tally.refused["handshakes"] += 1
                self._emitter.emit(Refused, peer=entry.peer, reason="handshakes")
                entry.cut(Cause.HANDSHAKE)
                return
