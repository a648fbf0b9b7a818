"""The DTLS server: endpoints of trio, served like the connections of other servers."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias, final

import trio

from .._core.datagram.open import open_udp_sockets
from .._core.datagram.socket import KernelSocket
from .._core.listeners.bind import check_in_trio, warn_of_autojump
from .._core.model.addresses import Address
from .._core.model.checks import check_several
from .._core.model.config import Limits, Timeouts
from .._core.model.emitter import Emitter, default_observers
from .._core.model.events import ConnectionOpened, ListenerClosed, Observer, Refused, ServerStarted
from .._core.model.options import explained
from .._core.registry.drain_report import DrainReport
from .._core.registry.drain_run import newcomer_until
from .._core.registry.rate_limits import rates_of
from .._core.registry.registry import Entry, Registry
from .._core.registry.timeout_monitor import TimeoutMonitor
from .._core.server.arguments import check_async, check_name, check_on_error, check_value
from .._core.server.base_server import Server
from .._core.server.handler_run import AnyOnError, Common
from .._core.server.handshake_places import HandshakePlaces, count_places
from .._core.server.statistics import ServerStatistics
from .._extras import missing
from .session import AssociationTask, DtlsSession
from .socket import EndpointSocket

if TYPE_CHECKING:
    from OpenSSL import SSL

DtlsHandler: TypeAlias = Callable[[DtlsSession], Awaitable[object]]


@final
class DtlsServer(Server[ServerStatistics]):
    """A DTLS server that runs, or has run; `serve_dtls` makes it and passes it to `task_status.started()`. It
    has the methods of the other servers.
    """

    def __init__(self, common: Common, sockets: Iterable[KernelSocket], context: SSL.Context) -> None:
        super().__init__(common)
        self._context = context
        self._listeners = tuple(sockets)
        self._sockets = [
            EndpointSocket(one, one.socket.family, self._gate, self._registry, self._emitter, self._on_end)
            for one in self._listeners
        ]
        self._monitor = TimeoutMonitor(common.timeouts)
        self._crash: OSError | None = None
        self._everything = trio.CancelScope()
        self._rates = rates_of(common.limits, "rate")
        self._places = HandshakePlaces(
            count_places(common.limits.max_handshakes, common.limits.max_connections),
            common.registry,
            common.emitter,
        )

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses at which it receives, with the ports that the kernel chose."""
        return tuple(one.address for one in self._listeners)

    def statistics(self) -> ServerStatistics:
        """Return a frozen snapshot. `received` and `sent` are bytes of the plain text. Raises: RuntimeError
        outside the trio thread, until the server has ended.
        """
        self._check_may_look()
        tally, wires = self._registry.tally, [entry.wire for entry in self._registry.entries()]
        return ServerStatistics(
            active=self._registry.active,
            idle=self._registry.count_idle(),
            queued=0,
            peak=tally.peak,
            accepted=tally.accepted,
            ended=dict(tally.ended),
            refused=dict(tally.refused),
            accept_errors=tally.accept_errors,
            received=tally.received + sum(wire.received for wire in wires),
            sent=tally.sent + sum(wire.sent for wire in wires),
            suspended=not self._gate.is_open,
            draining=self._scope.draining,
        )

    def _sources(self) -> Sequence[KernelSocket]:
        return self._listeners

    def _on_end(self, error: OSError | None) -> None:
        """A socket has ended: closed elsewhere, or with an error that must be reported."""
        if error is not None:
            self._crash = error
            self._everything.cancel(reason=f"triosock: receiving failed: {error}")
        elif all(one.is_closed for one in self._listeners):
            self.drain()

    async def serve(self, task_status: trio.TaskStatus[DtlsServer]) -> DrainReport:
        """Serve until drained or cancelled."""
        endpoints = [trio.DTLSEndpoint(one) for one in self._sockets]
        drained = False
        try:
            with self._scope, self._everything:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._monitor.run)
                    # Each endpoint sets options of the context, and pyOpenSSL refuses that once a first
                    # association was made from it: so none receives before all have begun.
                    self._gate.shut()
                    for endpoint in endpoints:
                        await nursery.start(endpoint.serve, self._context, self._arrive)
                    self._gate.open()
                    self._emitter.emit(ServerStarted, addresses=self.addresses, timeouts=self.timeouts)
                    task_status.started(self)
                    await self._scope.wait_begun()
                    self._gate.open()  # the busy need their peers' datagrams
                    await self._drain()
                    drained = True
                    nursery.cancel_scope.cancel(reason="triosock: no receiver is left")
        finally:
            self._gate.open()
            for endpoint, one in zip(endpoints, self._sockets, strict=True):
                endpoint.close()
                self._emitter.emit(ListenerClosed, address=one.inner.address)
                await one.wait_left()
            self._conclude(drained=drained)
        if self._crash is not None:
            raise self._crash
        return self._report

    async def _drain(self) -> None:
        drain_run, now = self._begin_drain(), trio.current_time()
        for entry in self._registry.entries():
            entry.spared_until = newcomer_until(entry, now)
        await drain_run.wait_completion()

    async def _arrive(self, channel: trio.DTLSChannel) -> None:
        """The task of one association, admitted or turned away before its first checkpoint."""
        entry = Entry(accepted=trio.current_time())
        sock = channel.endpoint.socket
        assert isinstance(sock, EndpointSocket)
        session = DtlsSession(channel, entry, sock, self)
        registry = self._registry
        keys = registry.keys_for(session.peer)
        reason: str | None = registry.refusal(keys) if keys else None
        if self._drain_run is not None:
            reason = "drain"
        elif reason is None and not registry.has_room:
            reason = "connections"
        elif reason is None and self._rates is not None:
            reason = self._rates.refusal(entry.accepted, self._rates.keys_of(session.peer))
        if reason is not None:
            # Not in the report as "drain" is for streams: no client was taken from a queue, and none is let
            # in late.
            registry.tally.refused["late" if reason == "drain" else reason] += 1
            self._emitter.emit(Refused, peer=session.peer, reason=reason)
            return
        registry.add(entry, keys=keys)
        self._monitor.watch(entry)
        if self._emitter.wants_openings:
            self._emitter.emit(
                ConnectionOpened, connection=entry.number, peer=session.peer, local=session.local
            )
        await AssociationTask(self._common, session, self._places).run()


@explained
async def serve_dtls(
    handler: DtlsHandler,
    port: int,
    *,
    context: SSL.Context,
    host: str | bytes | None = None,
    reuse_port: bool = False,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    on_error: AnyOnError = "log",
    observers: Iterable[Observer] = (),
    name: str | None = None,
    task_status: trio.TaskStatus[DtlsServer] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Receive DTLS on a UDP port, and serve each association in a task of its own.

    Args:
      handler: an async function of one `DtlsSession`, called after the handshake.
      context: an `OpenSSL.SSL.Context` made for DTLS, with certificate and key; one for each server, since
        current versions of pyOpenSSL do not let a context be changed after its first use, and trio sets
        options of it.
      port, host, reuse_port: as for `open_udp_sockets`.
      limits: `max_connections`, those per peer and network, `rate` with its two, and `max_handshakes` count
        associations. A further one is refused without an answer to the client. The others are not
        used: `overflow`, `max_lag`, `adaptive`, and those of requests and of datagrams.
      timeouts: `handshake`, `idle`, `request` (from a datagram to the next turn of the loop), `send`,
        `grace`. The others are not used.
      on_error, observers, name: as for `serve_udp`.

    Returns, raises, cancellation and drain: as for `serve_udp`. ImportError without pyOpenSSL. A datagram
    that finds trio's buffer of an association full (10) is dropped, and counted in
    `session.channel.statistics()`.
    """
    check_in_trio("serve_dtls()")
    _check_context(context)
    common = _common(handler, limits, timeouts, on_error)
    sockets = await open_udp_sockets(port, host=host, reuse_port=reuse_port)
    with contextlib.ExitStack() as opened:
        for one in sockets:
            opened.callback(one.close)
        warn_of_autojump(stacklevel=4)
        common.emitter.name = str(sockets[0].address) if name is None else check_name(name)
        for observer in check_several(observers, "observers must be several observers in a list"):
            common.emitter.add(observer)
        return await DtlsServer(common, sockets, context).serve(task_status)


def _check_context(context: object) -> None:
    """Raise TypeError if it is something else; ModuleNotFoundError, with what to install, without
    pyOpenSSL.
    """
    try:
        from OpenSSL import SSL
    except ModuleNotFoundError as error:
        raise missing(error, "serve_dtls()", "dtls", "OpenSSL") from None
    if not isinstance(context, SSL.Context):
        raise TypeError(f"context must be an OpenSSL.SSL.Context (pyOpenSSL), not {context!r}")


def _common(
    handler: DtlsHandler, limits: Limits | None, timeouts: Timeouts | None, on_error: AnyOnError
) -> Common:
    limits = check_value("limits", limits, Limits)
    return Common(
        handler=check_async("handler", handler, "one DTLS session", count=1),
        on_error=check_on_error(on_error, "an exception and a DTLS session"),
        limits=limits,
        timeouts=check_value("timeouts", timeouts, Timeouts),
        registry=Registry(limits),
        emitter=Emitter("", trio.current_time, [make() for make in default_observers]),
    )
