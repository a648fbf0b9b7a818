"""Datagrams of a simulated world: delayed, duplicated, reordered, truncated or lost.

The rule: **every datagram is counted**: ``sent + duplicated == delivered + lost + undeliverable + overflowed
+ in flight``. The sockets are those of `triosock.testing.DatagramNetwork`; the faults of a datagram are
drawn when it is sent, and one that is sent over a partitioned link is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

import trio

from triosock import MemoryAddress

from ..datagrams import MemoryDatagramSocket
from .choices import Choices
from .faults import Faults
from .journal import Journal
from .link import Link

#: The delay of a reordered datagram if there is no latency.
_LATE: Final = 0.01
#: The queue length of a socket of `DatagramNetwork`.
_QUEUED: Final = 256


@final
class SimulatedDatagramNetwork:
    """Connects the datagram sockets of one world."""

    def __init__(
        self,
        choices: Choices,
        faults: Faults,
        journal: Journal,
        mark: Callable[[str, str], None],
        link: Callable[[str, str], Link],
    ) -> None:
        self._choices = choices
        self._faults = faults
        self._journal = journal
        self._mark = mark
        self._link = link
        self._sockets: dict[MemoryAddress, MemoryDatagramSocket] = {}
        self.sent: int = 0
        self.duplicated: int = 0
        self.lost: int = 0
        self.undeliverable: int = 0
        self.overflowed: int = 0
        self.delivered: int = 0

    def open(self, name: str, max_bytes: int | None = None) -> MemoryDatagramSocket:
        """Return a socket of this name. Raises: ValueError if the name is in use."""
        address = MemoryAddress(name)
        if address in self._sockets:
            raise ValueError(f"{address} is in use: a host has one datagram socket for each name")
        ways: Any = self  # it has the methods of a DatagramNetwork that a socket calls
        socket = MemoryDatagramSocket(ways, address, max_bytes, _QUEUED)
        self._sockets[address] = socket
        return socket

    def carry(self, data: bytes, sender: MemoryAddress, to: MemoryAddress) -> None:
        """Send one datagram."""
        choices, faults = self._choices, self._faults
        self.sent += 1
        way = f"{sender.name} to {to.name}"
        self._journal.note("datagram", way, len(data))
        if choices.happens(faults.losses) or self._link(sender.name, to.name).is_down:
            self._mark("losses", f"a datagram of {way} is lost")
            self.lost += 1
            return
        if data and choices.happens(faults.truncations):
            data = data[: choices.integer(len(data) - 1)]
            self._mark("truncations", f"a datagram of {way} is truncated to {len(data)} bytes")
        copies = 1
        if choices.happens(faults.duplicates):
            self._mark("duplicates", f"a datagram of {way} is duplicated")
            self.duplicated += 1
            copies = 2
        for _ in range(copies):
            self._deliver(data, sender, to, way)

    def _deliver(self, data: bytes, sender: MemoryAddress, to: MemoryAddress, way: str) -> None:
        choices, faults = self._choices, self._faults
        receiver = self._sockets.get(to)
        if receiver is None:
            self.undeliverable += 1
            return
        seconds = choices.seconds(faults.latency)
        if choices.happens(faults.reorders):
            self._mark("reorders", f"a datagram of {way} is reordered")
            seconds += max(faults.latency, _LATE)
        receiver.arrive(trio.current_time() + seconds, data, sender)

    def forget(self, address: MemoryAddress, in_flight: int) -> None:
        """Remove a closed socket, which had `in_flight` datagrams in flight to it."""
        self._sockets.pop(address, None)
        self.undeliverable += in_flight

    def check(self) -> None:
        """Check that every datagram is counted. Raises: AssertionError."""
        in_flight = sum(len(socket._queue) for socket in self._sockets.values())
        gone = self.delivered + self.lost + self.undeliverable + self.overflowed
        assert self.sent + self.duplicated == gone + in_flight, (
            f"{self.sent} datagrams were sent, {self.duplicated} duplicated; {self.delivered} were "
            f"delivered, {self.lost} lost, {self.undeliverable} undeliverable, {self.overflowed} overflowed, "
            f"{in_flight} in flight"
        )


@final
class DatagramClient:
    """A client's socket, made by `World.datagram_client`: sends to one server and receives from it."""

    def __init__(self, socket: MemoryDatagramSocket, server: MemoryAddress) -> None:
        self._socket = socket
        self._server = server

    def __repr__(self) -> str:
        return f"<DatagramClient {self._socket.address}>"

    async def send(self, data: bytes) -> None:
        """Send one datagram to the server. A checkpoint."""
        await self._socket.send(data, self._server)

    async def receive(self) -> bytes:
        """Wait for a datagram and return it. A checkpoint; a cancelled call has taken nothing."""
        data, _ = await self._socket.receive()
        return data

    def close(self) -> None:
        """Close. Datagrams in flight to it are lost."""
        self._socket.close()
