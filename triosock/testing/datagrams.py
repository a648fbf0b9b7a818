"""An in-memory network of datagrams, with loss, duplication and reordering on request.

    network = DatagramNetwork()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_datagram_sockets, handler, [network.open("server")])
        client = network.open("client")
        await client.send(b"hello", server.addresses[0])
        data, sender = await client.receive()

The rules:

1. **Delays use trio's clock**: they cost nothing under a virtual one.
2. **Faults are on request**: of the next datagrams (`lose_next`, `duplicate_next`, `delay_next`), or of a
   share of all, drawn from a generator with a given `seed`; the same seed gives the same faults.
3. **Every datagram is counted**: ``sent + duplicated == delivered + lost + undeliverable + overflowed + in
   flight``.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from typing import final

import trio

from .._core.datagram.open import check_size
from .._core.datagram.packet_info import ControlMessage
from .._core.datagram.socket import MAX_UDP4_BYTES, DatagramSocket, Received
from .._core.listeners.listener import PeerName
from .._core.model.addresses import MemoryAddress
from .._core.model.checks import check_seconds, check_share


@final
class DatagramNetwork:
    """Connects the sockets that it opens.

    Args: `loss`, `duplication` and `reordering` are the shares of datagrams that are lost, arrive twice, or
    arrive `lateness` seconds later (above 0), each from 0 to 1; `delay` is the travel time of all, in seconds
    from 0 on; `seed` is for the random generator.

    The counters are attributes: `sent`, `lost`, `duplicated`, `delayed`, `undeliverable` (there was no
    socket, or it was closed before the datagram was received), `overflowed` (the queue was full) and
    `delivered` (received).

    Raises: TypeError, ValueError, which name the argument.
    """

    def __init__(
        self,
        *,
        loss: float = 0.0,
        duplication: float = 0.0,
        reordering: float = 0.0,
        delay: float = 0.0,
        lateness: float = 0.01,
        seed: int = 0,
    ) -> None:
        self._loss = check_share(loss, "loss")
        self._duplication = check_share(duplication, "duplication")
        self._reordering = check_share(reordering, "reordering")
        self._delay = check_seconds(delay, "delay", zero=True)
        self._lateness = check_seconds(lateness, "lateness")
        self._random = random.Random(seed)
        self._sockets: dict[MemoryAddress, MemoryDatagramSocket] = {}
        self._names = itertools.count(1)
        self._to_lose = 0
        self._to_duplicate = 0
        self._to_delay: list[float] = []
        self.sent: int = 0
        self.lost: int = 0
        self.duplicated: int = 0
        self.delayed: int = 0
        self.undeliverable: int = 0
        self.overflowed: int = 0
        self.delivered: int = 0

    def open(
        self, name: str | None = None, *, max_bytes: int | None = None, max_queued: int = 256
    ) -> MemoryDatagramSocket:
        """Return a socket of this name (None: ``peer-N``) that truncates datagrams at `max_bytes` (from 1 on;
        None: 65,507) and queues up to `max_queued` datagrams, those in flight to it included.

        Raises: ValueError if the name is in use; TypeError, ValueError for a wrong size.
        """
        check_size(max_bytes, "max_bytes")
        check_size(max_queued, "max_queued")
        address = MemoryAddress(f"peer-{next(self._names)}" if name is None else name)
        if address in self._sockets:
            raise ValueError(f"{address} is in use: close that socket first, or use another name")
        socket = MemoryDatagramSocket(self, address, max_bytes, max_queued)
        self._sockets[address] = socket
        return socket

    def lose_next(self, count: int = 1) -> None:
        """Lose the next `count` datagrams."""
        self._to_lose += count

    def duplicate_next(self, count: int = 1) -> None:
        """Deliver the next `count` datagrams twice."""
        self._to_duplicate += count

    def delay_next(self, seconds: float, count: int = 1) -> None:
        """Deliver the next `count` datagrams `seconds` later, after datagrams that are sent meanwhile."""
        self._to_delay += [check_seconds(seconds, "seconds")] * count

    # Called by the sockets

    def carry(self, data: bytes, sender: MemoryAddress, to: MemoryAddress) -> None:
        """Send one datagram."""
        self.sent += 1
        if self._happens("_to_lose", self._loss):
            self.lost += 1
            return
        copies = 1
        if self._happens("_to_duplicate", self._duplication):
            self.duplicated += 1
            copies = 2
        for _ in range(copies):
            receiver = self._sockets.get(to)
            if receiver is None:
                self.undeliverable += 1
            else:
                receiver.arrive(trio.current_time() + self._travel_time(), data, sender)

    def _happens(self, request: str, share: float) -> bool:
        requested: int = getattr(self, request)
        if requested:
            setattr(self, request, requested - 1)
            return True
        return share > 0 and self._random.random() < share

    def _travel_time(self) -> float:
        if self._to_delay:
            self.delayed += 1
            return self._delay + self._to_delay.pop(0)
        if self._reordering > 0 and self._random.random() < self._reordering:
            self.delayed += 1
            return self._delay + self._lateness
        return self._delay

    def forget(self, address: MemoryAddress, in_flight: int) -> None:
        """Remove a closed socket, which had `in_flight` datagrams in flight to it."""
        self._sockets.pop(address, None)
        self.undeliverable += in_flight


@final
class MemoryDatagramSocket(DatagramSocket):
    """A socket of a `DatagramNetwork`: for a server, or for a client, with `send` and `receive`."""

    def __init__(
        self, network: DatagramNetwork, address: MemoryAddress, max_bytes: int | None, max_queued: int
    ) -> None:
        self._network = network
        self._address = address
        self._max_bytes = MAX_UDP4_BYTES if max_bytes is None else max_bytes
        self._max_queued = max_queued
        #: For each datagram the time at which it is due, a number that keeps the order, the data and the
        #: sender.
        self._queue: list[tuple[float, int, bytes, MemoryAddress]] = []
        self._numbers = itertools.count()
        self._lost = 0
        self._closed = False
        self._change = trio.Event()

    def __repr__(self) -> str:
        return f"<MemoryDatagramSocket {self._address}{' (closed)' if self._closed else ''}>"

    @property
    def address(self) -> MemoryAddress:
        """Its name."""
        return self._address

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def lost(self) -> int:
        """The number of datagrams dropped because its queue was full."""
        return self._lost

    @property
    def max_queued(self) -> int:
        """The maximum length of its queue."""
        return self._max_queued

    @property
    def max_payload(self) -> int:
        """The longest datagram in bytes, as for UDP over IPv4."""
        return MAX_UDP4_BYTES

    # For a server

    async def wait_ready(self) -> None:
        """Return when a datagram is due. Raises: trio.ClosedResourceError if it is closed."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError(f"{self!r} is closed")
            due = self._queue[0][0] if self._queue else math.inf
            if due <= trio.current_time():
                return
            if self._change.is_set():  # otherwise others wait for it
                self._change = trio.Event()
            with trio.move_on_at(due):
                await self._change.wait()

    def receive_nowait(self) -> Received:
        """Return the first datagram that is due. Raises: trio.WouldBlock if none is;
        trio.ClosedResourceError."""
        if self._closed:
            raise trio.ClosedResourceError(f"{self!r} is closed")
        if not self._queue or self._queue[0][0] > trio.current_time():
            raise trio.WouldBlock
        _, _, data, sender = heapq.heappop(self._queue)
        self._network.delivered += 1
        return Received(data[: self._max_bytes], sender, None, len(data) > self._max_bytes)

    def send_nowait(
        self, data: bytes | bytearray | memoryview, name: PeerName, destination: ControlMessage | None
    ) -> None:
        """Send to the socket of this name. It is no error if there is none."""
        assert isinstance(name, MemoryAddress)
        self._network.carry(bytes(data), self._address, name)

    async def wait_writable(self, name: PeerName) -> None:
        """Return at once: there is always room. A checkpoint."""
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close. Datagrams that are queued or in flight to it count as `undeliverable`."""
        if not self._closed:
            self._closed = True
            self._network.forget(self._address, len(self._queue))
            self._queue.clear()
            self._change.set()

    def arrive(self, due: float, data: bytes, sender: MemoryAddress) -> None:
        """Queue a datagram, to be received at the time `due`."""
        if len(self._queue) >= self._max_queued:
            self._lost += 1
            self._network.overflowed += 1
            return
        heapq.heappush(self._queue, (due, next(self._numbers), data, sender))
        self._change.set()

    # For a client

    async def send(self, data: bytes, to: PeerName) -> None:
        """Send one datagram to an address of this network, such as `server.addresses[0]`. It is no error if
        no socket has that address.

        Raises: TypeError for another address; trio.ClosedResourceError. A checkpoint; the datagram is sent
        even if the call is cancelled.
        """
        if not isinstance(to, MemoryAddress):
            raise TypeError(f"to must be an address of this network, not {to!r}")
        if self._closed:
            raise trio.ClosedResourceError(f"{self!r} is closed")
        self.send_nowait(data, to, None)
        await trio.lowlevel.checkpoint()

    async def receive(self) -> tuple[bytes, MemoryAddress]:
        """Wait for a datagram and return it with its sender.

        Raises: trio.ClosedResourceError. A checkpoint. Cancellation: nothing was taken.
        """
        while True:
            await self.wait_ready()
            try:
                received = self.receive_nowait()
            except trio.WouldBlock:
                continue
            assert isinstance(received.name, MemoryAddress)
            return received.data, received.name
