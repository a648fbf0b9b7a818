"""How a handshake gets one of the `Limits.max_handshakes` places. Silent clients need none.

The invariants:

1. **A client that has sent nothing holds no place**, and does not wait for one.
2. **At most as many clients may be silent as there are places**, and at most half of
   `Limits.max_connections`: one more ends the one that has been silent the longest. An honest client sends
   its first byte right after connecting: with 512 places and 200 silent clients a second, it is ended only if
   that byte is two and a half seconds late.

Connections that have sent something, and then stop, are handled in `server/handshake_places.py`. Only a
socket can tell that a byte has arrived before it is received: connections over other streams take a place at
once.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import final

from ..model.config import Limits
from ..model.emitter import Emitter
from ..registry.registry import Entry, Registry
from ..server.handshake_places import HandshakePlaces, count_places
from ..transport.socket import SocketWire
from .connection import Connection


@final
class Handshakes:
    """The places of one server, as many as `Limits.max_handshakes`."""

    def __init__(self, limits: Limits, registry: Registry, emitter: Emitter) -> None:
        most = limits.max_handshakes
        self._most_silent = min(most, max(1.0, limits.max_connections / 2))
        self._places = HandshakePlaces(
            count_places(most, limits.max_connections - self._most_silent), registry, emitter
        )
        #: The entries that wait for their peers' first byte, in the order in which they began.
        self._silent: dict[Entry, SocketWire] = {}

    @contextlib.asynccontextmanager
    async def place(self, connection: Connection) -> AsyncIterator[None]:
        """Hold a place in the block, as soon as the peer has sent something and a place is free."""
        if isinstance(connection.wire, SocketWire):
            await self._wait_first_byte(connection.entry, connection.wire)
        await self._places.take(connection.entry)
        try:
            yield
        finally:
            self._places.give_back(connection.entry)

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
        """End the one that has been silent the longest. Those that have sent something meanwhile leave the
        list.
        """
        while self._silent:
            entry, wire = next(iter(self._silent.items()))
            del self._silent[entry]
            if not wire.has_input():
                self._places.refuse(entry)
                return
