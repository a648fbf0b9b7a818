"""A stream server: two nurseries, accept loops inside, connections outside.

    connections ┬─ loops ┬─ accept loop of the first listener
                │        └─ accept loop of the second …
                ├─ timeout monitor, epoll reader
                ├─ connection 1
                └─ connection 2 …

In a drain no new connection is accepted while the existing ones finish. So the accept loops must end first
and completely, and the connections must be in a nursery that is still open then. To stop accepting, the inner
nursery is cancelled; to wait for the connections, the outer one is left.

The invariants of a drain:

1. **Every connection that the kernel had accepted before the drain is served**: nothing else runs between the
   accept that finds the queue empty and the close of the listener. (A connection that the kernel completes in
   these microseconds is reset; no system call closes that gap.)
2. **A connection without a byte is a newcomer until its peer could send for five seconds**, from the queue
   or accepted before: its first request may be on the way, and is answered. An older one, such as a
   preconnect of a browser, is idle. A PROXY header is no request.
"""

from __future__ import annotations

import contextlib
import math
import random
import socket
from collections.abc import Hashable, Sequence
from typing import Final, final

import attrs
import trio

from ..listeners.accept_loop import AcceptLoop
from ..listeners.listener import Accepted, Listener, PeerName
from ..model.addresses import Address, TcpAddress
from ..model.events import Cause, ConnectionOpened, LimitReached, ListenerClosed, Refused, ServerStarted
from ..model.peer_credentials import user_of
from ..registry.description import EntryView
from ..registry.drain_report import DrainReport
from ..registry.drain_run import NEWCOMER_GRACE, newcomer_until
from ..registry.gradient import Gradient
from ..registry.rate_limits import RateLimits, make_accept_pacer, rates_of
from ..registry.registry import NEVER, Entry
from ..registry.shedding import Shedding
from ..registry.timeout_monitor import youngest_age
from ..server.base_server import Server
from ..server.statistics import ServerStatistics
from ..transport.epoll import HAS_EPOLL, EpollReader
from ..transport.socket import SocketWire
from ..transport.stream_adapter import StreamWire
from ..transport.wires import make_wire, socket_under
from ..transport.write_batcher import WriteBatcher
from .by_protocol import offering
from .connection import Connection
from .connection_task import ConnectionTask, Handler, Service
from .request_rates import RequestMeter, RequestRates
from .request_state import RequestState

#: The kind of key under which a proxy is counted.
PROXY: Final = "proxy"
#: Given, since trio would otherwise build a name for each task.
_TASK_NAME: Final = "triosock connection"


@final
class StreamServer(Server[ServerStatistics]):
    """A stream server that runs, or has run. `serve_tcp`, `serve_unix` and `serve_listeners` make it and pass
    it to `task_status.started()`.

    All its methods must be called in the trio thread. All but `wait_closed` are synchronous and return at
    once.
    """

    def __init__(self, service: Service, listeners: Sequence[Listener]) -> None:
        super().__init__(service)
        self._service = service
        self._listeners = tuple(listeners)
        limits = self._registry.limits
        pace = make_accept_pacer(service.rates, limits, self._emitter)
        self._clock = trio.lowlevel.current_clock().current_time
        self._shedding = Shedding(limits.max_lag, service.monitor.lag, self._emitter.emit, self._clock)
        self._accept_loops = [
            AcceptLoop(one, self._admit, self._registry, self._gate, self._emitter, pace, self._shedding)
            for one in listeners
        ]
        requests = rates_of(limits, "request_rate")
        self._request_rates = requests and RequestRates(requests, self._registry, self._emitter)
        self._connections: trio.Nursery | None = None
        self._batcher: WriteBatcher | None = None
        adaptive = limits.adaptive
        self._gradient = adaptive and Gradient(adaptive, self._registry, self._clock())
        #: Whether connections have a maximum age or number of requests, or an adaptive limit measures them.
        self._has_ages = (
            min(service.timeouts.max_age, limits.max_requests_per_connection) < math.inf
            or adaptive is not None
        )
        #: Whether a limit counts connections by peer, when they are accepted.
        self._counts_peers = self._registry.counts_peers or (
            service.proxy is not None and service.proxy.max_connections_per_proxy < math.inf
        )
        #: Whether a connection may be refused for more than want of a slot.
        self._asks = self._counts_peers or service.rates is not None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it listens, with the ports that the kernel chose."""
        return tuple(listener.address for listener in self._listeners)

    @property
    def lag(self) -> float:
        """How late the event loop was when it was last measured, in seconds: how long a new connection or
        task waits, in the queue of a listener or behind running tasks. Measured ten times a second while
        there is work; 0 without any.
        """
        if self._closed.is_set():
            return 0.0
        stand = min((loop.stands_since for loop in self._accept_loops), default=NEVER)
        return max(self._service.monitor.lag.seconds, trio.current_time() - stand)

    @property
    def shedding(self) -> bool:
        """Whether new connections are refused at this moment, since `lag` was above `Limits.max_lag`. A
        handler may read it to refuse requests, too.
        """
        return self._shedding.is_on and not self._closed.is_set()

    def statistics(self) -> ServerStatistics:
        """Return a frozen snapshot. Its cost grows with the number of connections. Raises: RuntimeError
        outside the trio thread, until the server has ended.
        """
        self._check_may_look()
        tally, entries = self._registry.tally, self._registry.entries()
        wires = [entry.wire for entry in entries]
        return ServerStatistics(
            active=self._registry.active,
            idle=self._registry.count_idle(),
            queued=sum(entry.stage == "queued" for entry in entries),
            peak=tally.peak,
            accepted=tally.accepted,
            ended=dict(tally.ended),
            refused=dict(tally.refused),
            accept_errors=tally.accept_errors,
            received=tally.received + sum(wire.received for wire in wires),
            sent=tally.sent + sum(wire.sent for wire in wires),
            suspended=not self._gate.is_open,
            draining=self._scope.draining,
            limit=min(self._gradient.most if self._gradient else math.inf, self.limits.max_connections),
            lag=self.lag,
            shedding=self.shedding,
            limited=dict(tally.limited),
        )

    def note_timeouts(self, entry: Entry) -> None:
        """The timeouts of a connection have changed."""
        self._service.monitor.reconsider(entry)

    def _sources(self) -> Sequence[Listener]:
        return self._listeners

    def _entry_view(self) -> EntryView:
        return EntryView(timeouts=self.timeouts, block_of=_block_of)

    # The life

    async def serve(self, task_status: trio.TaskStatus[StreamServer]) -> DrainReport:
        """Serve until drained or cancelled; see the picture at the top of this file."""
        drained = False
        with self._scope, offering(self._service.handler):
            try:
                async with trio.open_nursery() as self._connections:
                    self._batcher = WriteBatcher(self._connections)
                    monitoring = trio.CancelScope()
                    self._connections.start_soon(self._run_monitor, monitoring)
                    try:
                        if HAS_EPOLL:
                            epoll_reader = EpollReader(self._service.monitor.lag)
                            self._service = attrs.evolve(self._service, epoll_reader=epoll_reader)
                            self._connections.start_soon(epoll_reader.run)
                        await self._accept(task_status)
                        await self._drain()
                    finally:
                        if self._service.epoll_reader is not None:
                            self._service.epoll_reader.retire()
                    monitoring.cancel(reason="triosock: no connection is left")
                drained = True
            finally:
                try:
                    await self._close_listeners()
                finally:
                    self._conclude(drained=drained)
        return self._report

    async def _run_monitor(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._service.monitor.run()

    async def _accept(self, task_status: trio.TaskStatus[StreamServer]) -> None:
        """Accept until drained, or until every listener was closed from outside."""
        with self._accepting:
            async with trio.open_nursery() as loops:
                for loop in self._accept_loops:
                    loops.start_soon(loop.run)
                self._emitter.emit(ServerStarted, addresses=self.addresses, timeouts=self.timeouts)
                task_status.started(self)
            if self._scope.draining:
                await trio.sleep_forever()  # until the delay of the drain is over; handlers go on meanwhile
        if not self._scope.draining:
            self._scope.drain()

    async def _drain(self) -> None:
        drain_run = self._begin_drain()
        now = trio.current_time()
        for entry in self._registry.entries():
            entry.spared_until = max(newcomer_until(entry, now), self._idle_until(now))
        for loop, listener in zip(self._accept_loops, self._listeners, strict=True):
            await loop.drain_backlog()
            self._close(listener)
        await self._close_listeners()
        await drain_run.wait_completion()

    def _idle_until(self, now: float) -> float:
        """Return until when each connection may have one more request answered."""
        idle_grace = self._scope.idle_grace
        return now + idle_grace if idle_grace else 0.0

    def _close(self, listener: Listener) -> None:
        if not listener.is_closed:
            listener.close()
            self._emitter.emit(ListenerClosed, address=listener.address)

    async def _close_listeners(self) -> None:
        for listener in self._listeners:
            self._close(listener)
        # A foreign listener may have an `aclose` that blocks; `aclose_forcefully` cancels it. Shielded, since
        # they are closed also when the server is cancelled; and each one is closed, even if another raises.
        with trio.CancelScope(shield=True):
            async with contextlib.AsyncExitStack() as closing:
                for listener in self._listeners:
                    closing.push_async_callback(trio.aclose_forcefully, listener)

    # Admission. Synchronous from here on: see the invariants of registry.py and accept_loop.py.

    def _admit(self, accepted: Accepted, peer: PeerName, listener: Listener) -> None:
        """Register a connection and start its task, or refuse it. If either raises, the socket is closed."""
        entry, service = Entry(self._clock(), self._clock), self._service
        try:
            wire: SocketWire | StreamWire
            if type(accepted) is socket.socket and accepted.gettimeout() == 0:  # the usual case
                wire = SocketWire(accepted, entry, service.epoll_reader, self._batcher)
            else:
                wire = make_wire(accepted, entry, service.epoll_reader, self._batcher)
            # A socket has its own local address, which may be one of several of the listener's.
            is_socket = isinstance(accepted, socket.socket) or socket_under(accepted) is not None
            local = None if is_socket else listener.address
            # Not by the public constructor, and with positional arguments: a third of the time of keywords.
            connection = Connection.__new__(Connection)
            RequestState.__init__(connection, wire, entry, service.timeouts, self._emitter, peer, local, self)
            keys = self._keys(connection) if self._counts_peers else ()
            asks = self._asks or not self._registry.has_room or self._shedding.is_on
            if asks and (reason := self._refusal(connection, keys)) is not None:
                return self._refuse_connection(connection, reason)
            if self._drain_run is not None:
                self._spare_newcomer(entry)
            self._registry.add(entry, slot=self._registry.has_room, keys=keys)
            self._start(connection, service.handler)
            if not self._registry.has_room:
                self._emitter.emit(LimitReached, active=self._registry.active)
        except BaseException:
            self._registry.remove(entry)
            self._abandon(accepted)
            raise

    def _abandon(self, accepted: Accepted) -> None:
        """Close what no task owns yet."""
        if isinstance(accepted, socket.socket):
            accepted.close()
        elif self._connections is not None:
            self._connections.start_soon(trio.aclose_forcefully, accepted)  # also if all is cancelled

    def _set_ages(self, entry: Entry) -> None:
        """Note its maximum age, its maximum number of requests, and the adaptive limit that measures it."""
        timeouts, requests = self._service.timeouts, self._registry.limits.max_requests_per_connection
        if timeouts.max_age < math.inf:
            share = random.uniform(1 - timeouts.max_age_jitter, 1 + timeouts.max_age_jitter)
            entry.retires_at = entry.accepted + max(timeouts.max_age * share, youngest_age(timeouts))
        if requests < math.inf:
            entry.requests_left = requests
        entry.gradient = self._gradient

    def _start(self, connection: Connection, handler: Handler) -> None:
        """Start the task of a connection that is registered."""
        assert self._connections is not None
        entry, service, emitter = connection.entry, self._service, self._emitter
        if self._has_ages:
            self._set_ages(entry)
        if self._request_rates is not None:
            connection.meter = RequestMeter(self._request_rates)
        service.monitor.watch(entry)
        if emitter.wants_openings:
            emitter.emit(
                ConnectionOpened, connection=entry.number, peer=connection.peer, local=connection.local
            )
        task = ConnectionTask(service, connection, entry, handler)
        self._connections.start_soon(task.run, name=_TASK_NAME)
        if service.epoll_reader is not None:
            service.epoll_reader.users += 1  # until the task leaves it

    def _spare_newcomer(self, entry: Entry) -> None:
        """Note until when the drain waits for the first request of a connection from the queue."""
        entry.spared_until = max(entry.accepted + NEWCOMER_GRACE, self._idle_until(entry.accepted))
        if not self._registry.has_room:
            entry.stage = "queued"

    def _refusal(self, connection: Connection, keys: tuple[Hashable, ...]) -> str | None:
        """Return which limit one more with these keys would exceed. In a drain the slots are no limit."""
        if self._drain_run is None and self._shedding.is_on:
            self._shedding.refused += 1
            return "lag"
        rates = self._service.rates
        reason = self._refusal_by_name(keys) if keys else None
        if reason is None and not self._registry.has_room and self._drain_run is None:
            reason = "connections"
        if reason is None and rates is not None:
            reason = self._refusal_by_rate(connection, rates)
        return reason

    def _refuse_connection(self, connection: Connection, reason: str) -> None:
        """Close a connection over a limit, or run the overflow handler for it if there is one and it is not
        at `max_overflowing`.
        """
        registry, limits = self._registry, self._service.limits
        registry.tally.refused[reason] += 1
        self._emitter.emit(Refused, peer=connection.peer, reason=reason)
        if callable(limits.overflow) and registry.unslotted < limits.max_overflowing:
            entry = connection.entry
            entry.cause = Cause.OVERFLOW
            # The time of a handshake is enough for a short answer.
            entry.due = entry.accepted + self._service.timeouts.handshake
            registry.add(entry, slot=False)
            self._start(connection, limits.overflow)
            return
        if self._drain_run is not None:
            self._drain_run.turned_away += 1
        if isinstance(connection.wire, SocketWire):
            connection.wire.close_now()
        else:
            assert self._connections is not None
            self._connections.start_soon(connection.wire.aclose_now)

    def _keys(self, connection: Connection) -> tuple[Hashable, ...]:
        user = user_of(connection.transport)
        proxy, peer = self._service.proxy, connection.peer
        if proxy is not None and proxy.trusts(peer):
            # The header names the client, so it is counted after the header.
            return ((PROXY, peer.host if isinstance(peer, TcpAddress) else user),)
        return self._registry.keys_for(peer, user)

    def _refusal_by_name(self, keys: tuple[Hashable, ...]) -> str | None:
        """Return which limit per peer one more with these keys would exceed."""
        key, proxy = keys[0], self._service.proxy
        if proxy is not None and isinstance(key, tuple) and key[0] is PROXY:
            is_full = self._registry.count_of(key) >= proxy.max_connections_per_proxy
            return "proxy" if is_full else None
        return self._registry.refusal(keys)

    def _refusal_by_rate(self, connection: Connection, rates: RateLimits) -> str | None:
        """Return which rate one more would exceed. In a drain the rate of all connections is no limit."""
        proxy, rate_keys = self._service.proxy, None
        # The header names the client of a proxy's connection, so it is counted after the header.
        if rates.needs_keys and not (proxy is not None and proxy.trusts(connection.peer)):
            rate_keys = rates.keys_of(connection.peer, user_of(connection.transport))
        return rates.refusal(connection.entry.accepted, rate_keys, total=self._drain_run is None)


def _block_of(entry: Entry) -> trio.CancelScope | None:
    """Return the innermost block `conn.request()` that a connection is in."""
    return entry.served.request_scope if isinstance(entry.served, RequestState) else None
