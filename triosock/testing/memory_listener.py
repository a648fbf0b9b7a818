"""A listener and its clients in one process: a network without sockets, for servers under a virtual clock.

    listener = MemoryListener()
    nursery.start_soon(triosock.serve_listeners, handler, [listener])
    client = await listener.connect()

The rule: **the queue is the kernel's**. A client is connected as soon as it stands in the queue, before
anybody accepts it; the queue is bounded, and first come is first served, also among those who wait to get
into it; a close resets those in it and refuses the others.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import Final, final

import attrs
import trio
from trio.lowlevel import ParkingLot, checkpoint

from .._core.listeners.listener import Listener
from .._core.model.addresses import Address, MemoryAddress
from .._core.model.checks import check_int
from .memory_stream import BUFFER_SIZE, MemoryStream, memory_stream_pair

#: How many may wait to be accepted: SOMAXCONN of Linux before 5.4, listen(2).
BACKLOG: Final = 128


@attrs.define(eq=False)
class _Arrival:
    """One that wants to be accepted; `settled` when it stands in the queue, or never will."""

    stream: MemoryStream
    peer: Address
    settled: trio.Event = attrs.field(factory=trio.Event)
    refused: bool = False


@final
class MemoryListener(Listener):
    """Accepts those who `connect()`. To be given to `triosock.serve_listeners`, like any listener.

    Args: `name`, of its address ``memory://name``; `backlog`, how many may be connected before they are
    accepted; `buffer_size`, how many bytes each direction of a connection holds before a send has to wait.
    """

    def __init__(
        self, name: str = "memory", *, backlog: int = BACKLOG, buffer_size: int = BUFFER_SIZE
    ) -> None:
        check_int(backlog, "backlog")
        self._address = MemoryAddress(name)
        self._backlog = backlog
        self._buffer_size = buffer_size
        self._queue: deque[_Arrival] = deque()
        self._outside: deque[_Arrival] = deque()
        self._news = ParkingLot()
        self._closed = False
        self._clients = 0

    def __repr__(self) -> str:
        return f"<MemoryListener {self._address}{' (closed)' if self._closed else ''}>"

    @property
    def address(self) -> MemoryAddress:
        """Where it listens: ``memory://name``."""
        return self._address

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def pending(self) -> int:
        """How many are connected and not yet accepted."""
        return len(self._queue)

    def count_waiting(self) -> int:
        """The same as `pending`."""
        return len(self._queue)

    # The client's side

    async def connect(self, *, peer: Address | None = None) -> MemoryStream:
        """Connect to whoever serves this listener; waits only while the queue is full. A checkpoint.

        Args: `peer`, who the server shall think it is, any address; None is ``memory://name/number``.

        Returns: the client's end, which the caller must close.

        Raises: ConnectionRefusedError if the listener is closed. Cancellation: nothing is left of the
        attempt.
        """
        await checkpoint()
        self._clients += 1
        name = f"{self._address.name}/{self._clients}"
        if self._closed:
            raise self._refusal()
        client, accepted = memory_stream_pair(
            buffer_size=self._buffer_size, names=(f"client {name}", f"server {name}")
        )
        arrival = _Arrival(accepted, MemoryAddress(name) if peer is None else peer)
        if len(self._queue) < self._backlog:
            self._enqueue(arrival)
            return client
        self._outside.append(arrival)
        try:
            await arrival.settled.wait()
        except BaseException:
            self._outside.remove(arrival)
            client.close()
            accepted.close()
            raise
        if arrival.refused:
            client.close()
            raise self._refusal()
        return client

    def _enqueue(self, arrival: _Arrival) -> None:
        self._queue.append(arrival)
        arrival.settled.set()
        self._news.unpark_all()

    def _refusal(self) -> ConnectionRefusedError:
        return ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {self._address}")

    # The server's side

    async def wait_ready(self) -> None:
        """Return when somebody is in the queue. Raises: trio.ClosedResourceError if it is closed. A
        checkpoint.
        """
        await checkpoint()
        while not self._queue:
            self._check_open()
            await self._news.park()

    def accept_nowait(self) -> tuple[MemoryStream, Address]:
        """Return the server's end of the first in the queue, and who it is.

        Raises: trio.WouldBlock if there is none; trio.ClosedResourceError.
        """
        self._check_open()
        if not self._queue:
            raise trio.WouldBlock
        arrival = self._queue.popleft()
        if self._outside:
            self._enqueue(self._outside.popleft())
        return arrival.stream, arrival.peer

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this listener is closed")

    def close(self) -> None:
        """Stop listening: who is in the queue is reset, who waits outside is refused. Twice is as good as
        once.
        """
        self._closed = True
        while self._queue:
            self._queue.popleft().stream.abort()
        while self._outside:
            arrival = self._outside.popleft()
            arrival.stream.close()
            arrival.refused = True
            arrival.settled.set()
        self._news.unpark_all()
