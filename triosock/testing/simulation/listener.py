"""A simulated listener: a queue of those who are connected and not yet accepted, with a length.

The rule: **the queue is the kernel's**. First come is first served, a full queue makes clients wait, and a
close resets those in it and refuses those who come later. An accept may fail as accept(2) does: with an error
of the peer's the first of the queue is gone, with one of the machine's it stays.
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

#: How many may wait to be accepted: SOMAXCONN of Linux before 5.4, listen(2).
BACKLOG: Final = 128
#: With these nothing is accepted, and whoever is in the queue stays there.
STAYS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


@attrs.define(eq=False)
class Arrival:
    """One that wants to be accepted: the server's end, and who it is."""

    stream: SimulatedStream
    peer: Address
    #: How many bytes of it had arrived when the listener was closed on it; -1: it was not.
    cut_with: int = -1
    #: It does not stand in the queue, and was not accepted: its end is nobody's.
    is_outside: bool = True


@final
class SimulatedListener(Listener):
    """Where a server of the world listens.

    Args: `next_error` is asked at each accept for the errno with which it fails, or 0; `mark` is told of it.
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
        self._queue: deque[Arrival] = deque()
        self._changed = ParkingLot()
        self._closed = False
        self.accepted: int = 0
        #: Whether an accept has failed: then a server may wait before the next one.
        self.has_failed: bool = False
        #: Who was in the queue when it was closed.
        self.cut: list[Arrival] = []

    def __repr__(self) -> str:
        return f"<SimulatedListener {self._address}{' (closed)' if self._closed else ''}>"

    @property
    def address(self) -> TcpAddress:
        """Where it listens."""
        return self._address

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def count_waiting(self) -> int:
        """Return how many are in the queue."""
        return len(self._queue)

    async def enter(self, arrival: Arrival) -> None:
        """Stand in the queue; waits while it is full. Raises: ConnectionRefusedError if nobody listens."""
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
        """Return when somebody is in the queue. Raises: trio.ClosedResourceError. A checkpoint."""
        await checkpoint()
        while not self._queue:
            self._check_open()
            await self._changed.park()

    def accept_nowait(self) -> tuple[SimulatedStream, Address]:
        """Return the server's end of the first in the queue, and who it is.

        Raises: trio.WouldBlock if there is none; trio.ClosedResourceError; OSError, if that is its fate.
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
        """Stop listening: who is in the queue is reset. Twice is as good as once."""
        self._closed = True
        while self._queue:
            arrival = self._queue.popleft()
            arrival.stream.incoming.land()
            arrival.cut_with = arrival.stream.incoming.arrived
            self.cut.append(arrival)
            arrival.stream.abort()
        self._changed.unpark_all()
