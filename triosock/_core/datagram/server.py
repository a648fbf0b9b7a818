"""A datagram server: the same life as a stream server's, without connections.

    handlers ┬─ receivers ┬─ receive loop of the first socket
             │            ├─ receive loop of the second …
             │            └─ idle waits of sessions
             ├─ datagram 1, or session 1
             └─ datagram 2, or session 2 …

The order of a drain differs from that of streams. A stream server closes its listeners first. Here the socket
that receives requests also sends replies, so it stays open until the last handler has ended:

1. **What is in the socket's queue when the drain begins is received and handled** under the usual limits, as
   the accept queue is for streams.
2. From then on the loops go on receiving, for two reasons: a session that is in the middle of an exchange
   needs its peer's next datagram, and what comes from other peers must be counted (dropped, "late") instead
   of filling a queue that is not read. A client cannot be refused as a TCP client can: only a closed port
   does that, and a closed port cannot answer the peers that are being served.
3. Idle sessions end at once, busy handlers may finish until the grace period is over, the rest is cut;
   datagrams that still wait are dropped.
4. Then the loops end, the datagrams left in the sockets are counted, and the sockets are closed.

A cancellation does 4 at once. The invariant, for both: **every datagram that the kernel had delivered to the
socket is handled or counted** (see queue.py), and what the kernel dropped is counted by the kernel. Only a
datagram that arrives in the microseconds between the last receive and the close is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, final

import attrs
import trio

from ..listeners.accept_errors import ErrorAction, judge
from ..listeners.accept_loop import BATCH, SourceLoop
from ..listeners.gate import Gate
from ..listeners.listener import PeerName
from ..model.addresses import Address
from ..model.emitter import Emitter
from ..model.events import Cause, DatagramsLost, ListenerClosed, ServerStarted
from ..registry.description import ORIGINS, EntryView
from ..registry.drain_report import DrainReport
from ..registry.rate_limits import RateLimits, rates_of
from ..registry.registry import Registry
from ..server.base_server import Server
from ..server.handler_run import Common
from .dispatch import DatagramDispatch
from .queue import ReceiveQueue
from .reply_path import host_of
from .session import Sessions
from .session_table import SessionTable
from .socket import ABOUT_A_REPLY, DatagramSocket, Received
from .statistics import DatagramStatistics


@final
@attrs.frozen
class _UnknownPeer:
    """The sender of a datagram that is dropped at once, which must be cheap in a flood."""

    socket: DatagramSocket
    name: PeerName

    @property
    def peer(self) -> Address:
        """The address."""
        return self.socket.peer_address(self.name)


@final
class _ReceiveLoop(SourceLoop):
    """One receive loop. Its table of errors has one row more than that of accept loops."""

    def __init__(
        self,
        socket: DatagramSocket,
        dispatch: DatagramDispatch | SessionTable,
        registry: Registry,
        gate: Gate,
        emitter: Emitter,
        queue: ReceiveQueue,
        rates: RateLimits | None,
    ) -> None:
        super().__init__(socket, registry, gate, emitter)
        self._socket = socket
        self._queue = queue
        self._rates = rates
        self._dispatch = dispatch
        self._lost_told = 0

    def _take_some(self) -> None:
        """Receive what has arrived; stop after a batch to let other tasks run."""
        for _ in range(BATCH):
            if not self._gate.is_open or not self._take_one():
                break
        self._tell_lost(self._socket.seen_lost)

    def _take_one(self) -> bool:
        try:
            received = self._socket.receive_nowait()
        except trio.WouldBlock:
            return False
        if self._rates is None or not self._is_too_often(received, self._rates):
            self._dispatch.deliver(received, self._socket)
        return True

    def _is_too_often(self, received: Received, rates: RateLimits) -> bool:
        """Count a datagram among those of its peer; return whether it was dropped."""
        reason = rates.refusal(trio.current_time(), rates.keys_of_host(host_of(received)))
        if reason is not None:
            self._queue.count(received.data, received.truncated)
            self._queue.refuse(reason, _UnknownPeer(self._socket, received.name))
        return reason is not None

    def take_waiting(self) -> None:
        """Receive what is in the queue now, without waiting, and no more than fit in it, since a flood would
        never end.
        """
        for _ in range(0 if self._socket.is_closed else self._socket.max_queued):
            try:
                if not self._take_one():
                    return
            except OSError as error:
                action = self._judge(error)
                self._tell(error, action)
                if action is not ErrorAction.GO_ON:
                    return

    def _judge(self, error: BaseException) -> ErrorAction:
        if isinstance(error, OSError) and error.errno in ABOUT_A_REPLY:
            return ErrorAction.GO_ON
        return judge(error)

    def tell_all_lost(self) -> None:
        """Read how many datagrams the kernel has dropped, and emit `DatagramsLost` for new ones."""
        self._tell_lost(self._socket.lost)

    def _tell_lost(self, lost: int) -> None:
        if lost > self._lost_told:
            self._emitter.emit(DatagramsLost, address=self._socket.address, count=lost - self._lost_told)
            self._lost_told = lost


@final
class DatagramServer(Server[DatagramStatistics]):
    """A datagram server that runs, or has run. `serve_udp`, `serve_unix_datagram` and
    `serve_datagram_sockets` make it and pass it to `task_status.started()`.

    All its methods must be called in the trio thread. All but `wait_closed` are synchronous and return at
    once.
    """

    def __init__(self, common: Common, sockets: Sequence[DatagramSocket], sessions: Sessions | None) -> None:
        super().__init__(common)
        self._listeners = tuple(sockets)
        self._queue = ReceiveQueue(common.limits, common.registry.tally, common.emitter)
        self._dispatch: DatagramDispatch | SessionTable
        if sessions is None:
            self._dispatch = DatagramDispatch(common, self._queue, self)
        else:
            self._dispatch = SessionTable(common, self._queue, self, sessions)
        self._session_idle = None if sessions is None else sessions.idle
        rates = rates_of(common.limits, "datagram_rate")
        self._receive_loops = [
            _ReceiveLoop(
                socket, self._dispatch, self._registry, self._gate, self._emitter, self._queue, rates
            )
            for socket in sockets
        ]

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it receives, with the ports that the kernel chose."""
        return tuple(socket.address for socket in self._listeners)

    def statistics(self) -> DatagramStatistics:
        """Return a frozen snapshot. Its cost grows with the number of handlers; one system call for each
        socket. Raises: RuntimeError outside the trio thread, until the server has ended.
        """
        self._check_may_look()
        queue, tally = self._queue, self._registry.tally
        return DatagramStatistics(
            active=self._registry.active,
            idle=self._registry.count_idle(),
            queued=self._dispatch.waiting,
            peak=tally.peak,
            pending=queue.pending,
            received=queue.received,
            handled=queue.handled,
            dropped={str(reason): count for reason, count in queue.dropped.items()},
            lost=sum(socket.lost for socket in self._listeners),
            truncated=queue.truncated,
            sent=queue.sent,
            received_bytes=queue.received_bytes,
            sent_bytes=queue.sent_bytes,
            ended=dict(tally.ended),
            receive_errors=tally.accept_errors,
            suspended=not self._gate.is_open,
            draining=self._scope.draining,
        )

    def _sources(self) -> Sequence[DatagramSocket]:
        return self._listeners

    def _entry_view(self) -> EntryView:
        # A datagram has no idle time; a session has its own.
        idle = math.inf if self._session_idle is None else self._session_idle
        return EntryView(
            kind="datagram" if self._session_idle is None else "session",
            timeouts=attrs.evolve(self.timeouts, idle=idle),
            origins={**ORIGINS, Cause.IDLE: "Sessions.idle"},
        )

    # The life

    async def serve(self, task_status: trio.TaskStatus[DatagramServer]) -> DrainReport:
        """Serve until drained or cancelled; see the top of this file."""
        try:
            with self._scope:
                async with trio.open_nursery() as handlers:
                    self._dispatch.nursery = handlers
                    receiving = trio.CancelScope()
                    handlers.start_soon(self._receive, receiving)
                    self._emitter.emit(
                        ServerStarted,
                        addresses=self.addresses,
                        timeouts=self.timeouts,
                        session_idle=self._session_idle,
                    )
                    task_status.started(self)
                    await self._scope.wait_begun()
                    await self._drain()
                    receiving.cancel(reason="triosock: no receiver is left")
                self._end("late")
                self._conclude(drained=True)
        finally:
            if not self._closed.is_set():
                self._end("closed")
                self._conclude(drained=False)
        return self._report

    async def _receive(self, scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as watching:
                watching.start_soon(self._dispatch.watch)
                async with trio.open_nursery() as receivers:
                    for receiver in self._receive_loops:
                        receivers.start_soon(receiver.run)
                # Every socket was closed from outside.
                self._scope.drain()

    async def _drain(self) -> None:
        drain_run = self._begin_drain()
        for receiver in self._receive_loops:
            receiver.take_waiting()
        self._queue.refusing = "late"
        # A suspended server must receive again: sessions in the middle of an exchange wait for it.
        self._gate.open()
        await drain_run.wait_completion()

    def _end(self, refusing: Literal["late", "closed"]) -> None:
        """Count the remaining datagrams, and close."""
        self._queue.refusing = refusing
        for receiver in self._receive_loops:
            receiver.take_waiting()
            receiver.tell_all_lost()
        for socket in self._listeners:
            if not socket.is_closed:
                socket.close()
                self._emitter.emit(ListenerClosed, address=socket.address)
