"""A simulated listener: a bounded queue of connections that are not yet accepted.

The rule: **it behaves as the kernel's accept queue**. It is in order, clients wait while it is full, and a
close resets the connections in it and refuses later ones. An accept may fail as accept(2) does: an error of
the peer removes the first connection from the queue, an error of the machine leaves it there.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Final, final

import attrs
import trio
from trio.lowlevel import ParkingLot, checkpoint

from triosock import Address, Listener, TcpAddress

from .journal import Journal
from .stream import SimulatedStream

#: The default length of the queue: SOMAXCONN of Linux before 5.4, listen(2).
BACKLOG: Final = 128
#: After these errors the connection stays in the queue.
STAYS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


@attrs.define(eq=False)
class QueuedConnection:
    """A connection to be accepted: the server's end, and its peer."""

    stream: SimulatedStream
    peer: Address
    #: The bytes that had arrived when the listener was closed with it in the queue; -1: it was not.
    arrived_at_close: int = -1
    #: Whether it has not entered the queue yet: then nothing else closes its end.
    is_outside: bool = True


@final
class SimulatedListener(Listener):
    """The listener of a server of the world.

    Args: `next_error` returns the errno with which the next accept fails, or 0; `mark` is called with each
    fault.
    """

    def __init__(
        self,
        address: TcpAddress,
        journal: Journal,
        next_error: Callable[[], int],
        mark: Callable[[str, str], None],
        backlog: int = BACKLOG,
    ) -> None:
        self._address = address
        self._journal = journal
        self._next_error = next_error
        self._mark = mark
        self._backlog = backlog
        self._queue: deque[QueuedConnection] = deque()
        self._changed = ParkingLot()
        self._closed = False
        self.accepted: int = 0
        #: Whether an accept has failed: then a server may wait before the next one.
        self.has_failed: bool = False
        #: The connections that were in the queue when it was closed.
        self.cut: list[QueuedConnection] = []

    def __repr__(self) -> str:
        return f"<SimulatedListener {self._address}{' (closed)' if self._closed else ''}>"

    @property
    def address(self) -> TcpAddress:
        """Its address."""
        return self._address

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def count_waiting(self) -> int:
        """Return the number of connections in the queue."""
        return len(self._queue)

    async def enter(self, arrival: QueuedConnection) -> None:
        """Enter the queue; waits while it is full. Raises: ConnectionRefusedError if the listener is
        closed."""
        while not self._closed and len(self._queue) >= self._backlog:
            await self._changed.park()
        if self._closed:
            self._journal.note("refused", arrival.stream.name)
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {self._address}")
        arrival.is_outside = False
        self._queue.append(arrival)
        self._journal.note("connected", arrival.stream.name)
        self._changed.unpark_all()

    async def wait_ready(self) -> None:
        """Return when a connection is in the queue. Raises: trio.ClosedResourceError. A checkpoint."""
        await checkpoint()
        while not self._queue:
            self._check_open()
            await self._changed.park()

    def accept_nowait(self) -> tuple[SimulatedStream, Address]:
        """Return the server's end of the first connection in the queue, and its peer.

        Raises: trio.WouldBlock if there is none; trio.ClosedResourceError; OSError for a fault.
        """
        self._check_open()
        if not self._queue:
            raise trio.WouldBlock
        number = self._next_error()
        if number:
            self.has_failed = True
            name = errno.errorcode.get(number, str(number))
            if number not in STAYS:
                gone = self._queue.popleft()
                gone.stream.break_off(
                    "accept errors", f"{gone.stream.name} is lost: accept failed with {name}"
                )
                gone.stream.close()
                self._changed.unpark_all()
            else:
                self._mark("accept errors", f"accept fails with {name}")
            raise OSError(number, os.strerror(number))
        arrival = self._queue.popleft()
        self.accepted += 1
        self._changed.unpark_all()
        self._journal.note("accepted", arrival.stream.name)
        return arrival.stream, arrival.peer

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this listener is closed")

    def close(self) -> None:
        """Stop listening: connections in the queue are reset. A second call does nothing."""
        self._closed = True
        while self._queue:
            arrival = self._queue.popleft()
            arrival.stream.incoming.deliver_due()
            arrival.arrived_at_close = arrival.stream.incoming.arrived
            self.cut.append(arrival)
            arrival.stream.abort()
        self._changed.unpark_all()
