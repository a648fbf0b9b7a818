"""A listener and its clients in memory, without sockets, for servers under a virtual clock.

    listener = MemoryListener()
    nursery.start_soon(triosock.serve_listeners, handler, [listener])
    client = await listener.connect()

The rule: **its queue behaves as the kernel's accept queue**. A client is connected as soon as it is in the
queue, before the accept; the queue is bounded and in order, also for clients that wait for room in it; a
close resets those in it and refuses the others.
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

#: The default length of the queue: SOMAXCONN of Linux before 5.4, listen(2).
BACKLOG: Final = 128


@attrs.define(eq=False)
class _QueuedConnection:
    """A connection to be accepted. `settled` is set when it is in the queue, or was refused."""

    stream: MemoryStream
    peer: Address
    settled: trio.Event = attrs.field(factory=trio.Event)
    refused: bool = False


@final
class MemoryListener(Listener):
    """Accepts connections made by `connect()`. Give it to `triosock.serve_listeners`, as any listener.

    Args: `name`, of its address ``memory://name``; `backlog`, the length of the accept queue, from 1 on;
    `buffer_size`, the bytes (from 1 on) that each direction of a connection holds before a send has to wait.

    Raises: TypeError, ValueError for a wrong `backlog`.
    """

    def __init__(
        self, name: str = "memory", *, backlog: int = BACKLOG, buffer_size: int = BUFFER_SIZE
    ) -> None:
        check_int(backlog, "backlog")
        self._address = MemoryAddress(name)
        self._backlog = backlog
        self._buffer_size = buffer_size
        self._queue: deque[_QueuedConnection] = deque()
        self._outside: deque[_QueuedConnection] = deque()
        self._changed = ParkingLot()
        self._closed = False
        self._clients = 0

    def __repr__(self) -> str:
        return f"<MemoryListener {self._address}{' (closed)' if self._closed else ''}>"

    @property
    def address(self) -> MemoryAddress:
        """Its address, ``memory://name``."""
        return self._address

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def pending(self) -> int:
        """The number of connections in the accept queue."""
        return len(self._queue)

    def count_waiting(self) -> int:
        """The same as `pending`."""
        return len(self._queue)

    # For clients

    async def connect(self, *, peer: Address | None = None) -> MemoryStream:
        """Connect to this listener; waits only while the queue is full. A checkpoint.

        Args: `peer`, the address that the server sees, of any kind; None is ``memory://name/number``.

        Returns: the client's end, which the caller must close.

        Raises: ConnectionRefusedError if the listener is closed, also while the call waits for room.
        Cancellation: the attempt leaves nothing.
        """
        await checkpoint()
        self._clients += 1
        name = f"{self._address.name}/{self._clients}"
        if self._closed:
            raise self._refusal()
        client, accepted = memory_stream_pair(
            buffer_size=self._buffer_size, names=(f"client {name}", f"server {name}")
        )
        arrival = _QueuedConnection(accepted, MemoryAddress(name) if peer is None else peer)
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

    def _enqueue(self, arrival: _QueuedConnection) -> None:
        self._queue.append(arrival)
        arrival.settled.set()
        self._changed.unpark_all()

    def _refusal(self) -> ConnectionRefusedError:
        return ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {self._address}")

    # For the server

    async def wait_ready(self) -> None:
        """Return when a connection is in the queue. Raises: trio.ClosedResourceError if it is closed. A
        checkpoint.
        """
        await checkpoint()
        while not self._queue:
            self._check_open()
            await self._changed.park()

    def accept_nowait(self) -> tuple[MemoryStream, Address]:
        """Return the server's end of the first connection in the queue, and its peer.

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
        """Stop listening: connections in the queue are reset, clients that wait for room are refused. A
        second call does nothing.
        """
        self._closed = True
        while self._queue:
            self._queue.popleft().stream.abort()
        while self._outside:
            arrival = self._outside.popleft()
            arrival.stream.close()
            arrival.refused = True
            arrival.settled.set()
        self._changed.unpark_all()
