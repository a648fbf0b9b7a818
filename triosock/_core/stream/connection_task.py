"""The life of one connection, from its accept to its close: one task, one scope, one file.

`ConnectionTask.run` is that life. Its steps, in this order:

    slot → PROXY header and TLS → handler → lingering close → close → unregister

The invariants, in addition to those of `handler_run.py`:

1. **Every life has the same end**: the socket is closed, the entry leaves the registry, and the observers get
   `ConnectionClosed`.
2. **Unread input does not destroy a reply.** A close with unread input makes the kernel send a reset, which
   discards the reply at the peer (RFC 9112, 9.6). So the end of a handler is a half-close; then input is
   discarded until the peer closes, or `Timeouts.close` is over.
3. **An incomplete reply does not look complete.** A handler that failed ends its connection with a reset, and
   under TLS without a close_notify. So does one that was cancelled, unless nothing was sent in either
   direction, or no request was in progress and the handler was waiting for the peer after its last send: then
   its reply was complete. So does one that returned while another task was in the middle of a send. (Unix
   sockets have no reset; there the stream just ends.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Literal, TypeAlias, final

import attrs
import trio

from ..model.errors import PeerError
from ..model.events import Cause, HandlerStarted, HandshakeFinished, HandshakeRefused, Refused
from ..protocols.proxy_parser import ProxyPolicy
from ..registry.rate_limits import RateLimits, rates_of
from ..registry.registry import NEVER
from ..registry.timeout_monitor import TimeoutMonitor
from ..server.handler_run import Common, HandlerRun
from ..transport.epoll import EpollReader
from ..transport.socket import SocketWire
from ..transport.tls import ServerTls
from .by_protocol import Handler as Handler
from .by_protocol import HandlersByProtocol
from .connection import Connection
from .handshakes import Handshakes

ErrorHandler: TypeAlias = Callable[[Exception, Connection], Awaitable[object]]
OnError: TypeAlias = Literal["log", "raise"] | ErrorHandler


@attrs.frozen(kw_only=True)
class Service(Common):
    """What all connections of a server have in common."""

    tls: ServerTls | None
    https_compatible: bool
    proxy: ProxyPolicy | None
    handshakes: Handshakes
    monitor: TimeoutMonitor
    #: Set as soon as its task runs.
    epoll_reader: EpollReader | None = None
    #: How often connections may come; None for no limit.
    rates: RateLimits | None = attrs.field(
        default=attrs.Factory(lambda self: rates_of(self.limits, "rate"), takes_self=True)
    )

    #: Whether a PROXY header or TLS comes before the handler.
    has_handshake: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # Computed once, since every connection reads it; the class is frozen.
        object.__setattr__(self, "has_handshake", self.tls is not None or self.proxy is not None)

    @property
    def counts_clients(self) -> bool:
        """Whether a limit counts connections by the client that a proxy names."""
        return self.registry.counts_peers or (self.rates is not None and self.rates.needs_keys)


@final
class ConnectionTask(HandlerRun):
    """One connection's life. `run()` is its task."""

    __slots__ = ()

    takes = "one connection"

    _common: Service  # declared again for type checkers, as the next one
    _served: Connection

    async def run(self) -> None:
        """The life of a connection. The handler is called and awaited here, and not in a coroutine of its
        own, of which each costs about a percent of a short connection.
        """
        entry, connection = self._entry, self._served
        entry.task = trio.lowlevel.current_task()
        connection.wire.just_begun = True
        try:
            with entry.scope:
                if entry.stage == "queued":
                    await self.wait_slot()
                    entry.ready_since = entry.now()
                if not self._common.has_handshake or await self._do_handshake():
                    if self._common.emitter.wants_handlers:
                        self.tell(HandlerStarted)
                    try:
                        awaitable = self._handler(connection)
                        if type(awaitable) is not CoroutineType:
                            self.check_awaitable(awaitable)
                        await awaitable
                        del awaitable  # no reference to it is kept through the lingering close
                    except BaseException as error:  # `consider` says which of them pass
                        if not self.consider(error):
                            raise
                if not self._failed and self._has_to_linger():
                    await self._linger()
            if self._failed or entry.scope.cancelled_caught:
                await self._answer()
        except BaseException as error:
            self.note_passing(error)
            raise
        finally:
            await self._close_and_unregister()

    async def _answer(self) -> None:
        """Call `on_error`, if the table of faults says so. If it returns, the end is a proper one."""
        error = self.error_to_answer()
        if error is None:
            return
        was_broken = self._served.wire.is_broken_off
        with self.begin_answer():
            await self.call_on_error(error, was_broken=was_broken)
            if not self._failed and self._has_to_linger():
                await self._linger()

    # The end

    def _has_to_linger(self) -> bool:
        """Note that the handler has ended; return whether a lingering close follows."""
        entry, wire = self._entry, self._served.wire
        if entry.cause is None and wire.has_expired:
            entry.cause = Cause.IDLE
            self._common.registry.tally.idled += 1
        if entry.request_since != NEVER:
            self._served.end_request(entry.cause or Cause.FINISHED)
        if wire.is_broken_off:
            return False  # an end of stream would make an incomplete reply look complete
        if not isinstance(wire, SocketWire):
            return True
        # No lingering if both sides have ended their streams, or the peer is gone.
        return wire.failure is None and not (wire.input_ended and wire.is_settled)

    async def _linger(self) -> None:
        """Send the rest, end the stream, and wait for the peer's end of it, for `Timeouts.close` at most."""
        entry, wire = self._entry, self._served.wire
        if isinstance(wire, SocketWire):
            await wire.settle()
        # Also after a failed handshake: the TLS alert that says why is a reply like any other.
        if wire.input_ended or wire.is_closed or self._served.timeouts.close <= 0:
            return
        entry.stage = "closing"
        entry.closing_since = entry.now()
        entry.cause = entry.cause or Cause.FINISHED
        if entry.gradient is not None and entry.holds_slot:
            self._note_latency()
            entry.gradient.begin_rest(entry)
        try:
            await wire.linger()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            # The handler has closed it, has detached the socket, or a task still reads from it. There is no
            # peer to wait for, and other connections are not concerned.
            pass

    async def _close_and_unregister(self) -> None:
        """Close, with a reset if the connection was cancelled in the middle of a reply; then unregister it,
        also if closing raises. No checkpoint, and cannot be cancelled.
        """
        entry, wire = self._entry, self._served.wire
        try:
            reset = self._failed or wire.is_broken_off or (self._cut and self._is_mid_request())
            if entry.request_since != NEVER:  # it was cancelled during that request
                reset = True
                self._served.end_request(entry.cause or Cause.FINISHED)
            if not isinstance(wire, SocketWire):
                await wire.aclose_now(reset=reset)
                return
            if reset:
                wire.flush_nowait()  # complete answers that were gathered are sent before the reset
            with contextlib.suppress(OSError):  # the handler has taken the socket away, and failed besides
                wire.close_now(reset=reset)
        finally:
            self._unregister()

    def _is_mid_request(self) -> bool:
        """Whether the reply of a cancelled handler may be incomplete: see the third invariant."""
        entry, wire = self._entry, self._served.wire
        has_data = wire.received > entry.header_bytes or wire.sent > 0
        return entry.stage == "serving" and has_data and not wire.ended_waiting

    def _unregister(self) -> None:
        """Unregister the connection; the timeout monitor and the epoll reader forget it."""
        service, entry = self._common, self._entry
        service.monitor.forget(entry)
        if entry.gradient is not None:
            self._note_latency()
            entry.gradient.end_rest(entry)
        if service.epoll_reader is not None:
            service.epoll_reader.leave()
        self.unregister()

    def _note_latency(self) -> None:
        """Report its duration to the adaptive limit, unless its requests were reported, or it has no slot."""
        entry = self._entry
        if entry.gradient is not None and entry.holds_slot and not entry.has_told:
            entry.has_told = True
            entry.gradient.note(entry.accepted, entry.now())

    # The handshake

    def _is_over_limit(self) -> bool:
        """Count the client that a proxy has named; return whether it is over a limit and to be closed. A
        connection over a limit is not counted and holds no slot, like one that is refused right after its
        accept.
        """
        entry, connection, service = self._entry, self._served, self._common
        header, registry, overflow = connection.proxy_header, service.registry, service.limits.overflow
        if header is None or header.source is None:
            return False  # it was counted with its accept, or is a connection of the proxy's own
        keys = registry.keys_for(connection.peer)
        reason: str | None = registry.refusal(keys)
        if reason is None and service.rates is not None:
            reason = service.rates.refusal(entry.now(), service.rates.keys_of(connection.peer), total=False)
        if reason is None:
            registry.add_keys(entry, keys)
            return False
        has_room = registry.unslotted < service.limits.max_overflowing
        registry.take_back(entry)
        registry.tally.refused[reason] += 1
        service.emitter.emit(Refused, peer=connection.peer, reason=reason)
        entry.cause = Cause.OVERFLOW
        if not callable(overflow) or not has_room:
            registry.tally.turned_away += 1
            return True
        self._handler = overflow
        # The same time as for one that is refused right after its accept.
        entry.due = entry.now() + service.timeouts.handshake
        return False

    async def _do_handshake(self) -> bool:
        """Read the PROXY header and do the TLS handshake; return whether both succeeded."""
        entry = self._entry
        entry.stage = "handshake"
        entry.handshake_since = entry.accepted if entry.ready_since == NEVER else entry.ready_since
        try:
            if not await self._read_header_and_start_tls():
                return False
        except (PeerError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            entry.cause = entry.cause or Cause.HANDSHAKE
            self._error = error
            self.tell(HandshakeRefused, error=error)
            return False
        except trio.Cancelled:
            if entry.cause is Cause.HANDSHAKE:
                self.tell(HandshakeRefused, error=None)
            raise
        entry.stage = "serving"
        entry.ready_since = entry.now()
        if self._common.emitter.takers(HandshakeFinished):
            tls = self._served.tls
            self.tell(
                HandshakeFinished,
                duration=trio.current_time() - entry.accepted,
                tls_version=tls.version if tls else None,
                cipher=tls.cipher if tls else None,
                alpn=tls.alpn if tls else None,
            )
        return True

    async def _read_header_and_start_tls(self) -> bool:
        """Do each of the two while holding a place of `Limits.max_handshakes`; return whether to go on."""
        connection, service = self._served, self._common
        if service.proxy is not None:
            async with service.handshakes.place(connection):
                await connection.read_proxy_header(service.proxy)
            connection.entry.header_bytes = connection.wire.received
            # One without a slot was refused already, and goes to the overflow handler.
            is_refused = not connection.entry.holds_slot
            if service.counts_clients and not is_refused and self._is_over_limit():
                # No lingering close, which would wait for the peer.
                await connection.wire.aclose_now()
                return False
        if service.tls is not None:
            async with service.handshakes.place(connection):
                await connection.start_tls(service.tls, https_compatible=service.https_compatible)
        if isinstance(self._handler, HandlersByProtocol):  # and no overflow handler
            self._handler = self._handler.choose(connection.tls)
        return True
