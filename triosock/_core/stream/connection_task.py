"""The life of one connection, from its accept to its close: one task, one scope, one file.

    slot → PROXY header and TLS → handler → goodbye → closed, counted, told

The invariants, beside those of `handler_task.py`:

1. **Whatever happens in the middle, the end happens**: the socket is closed, the entry leaves the roster, the
   observers are told.
2. **A reply survives the input that nobody read**: a close with unread input would make the kernel send a
   reset, which takes the reply with it. So the handler's end is a half-close; then input is thrown away until
   the peer closes, or `Timeouts.close` is over.
3. **Half an answer does not look like a whole one.** A handler that failed ends its connection with a reset,
   and under TLS without a close_notify. So does one that was cancelled, for whatever reason, unless nothing
   was said in either direction, or no request was in progress and it has waited for the peer since it last
   sent: who waits has said what was to be said. (Unix sockets have no reset; there the stream just ends.)
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias, final

import attrs
import trio

from ..model.errors import PeerError
from ..model.events import Cause, HandshakeFinished, HandshakeRefused, Refused
from ..protocols.proxy_parser import ProxyPolicy
from ..registry.registry import NEVER
from ..registry.timeout_monitor import Overseer
from ..server.handler_task import Common, Turn
from ..transport.epoll import Pump
from ..transport.socket import SocketWire
from ..transport.stream_adapter import StreamWire
from .connection import Connection

Handler: TypeAlias = Callable[[Connection], Awaitable[object]]
ErrorHandler: TypeAlias = Callable[[Exception, Connection], Awaitable[object]]
OnError: TypeAlias = Literal["log", "raise"] | ErrorHandler


@attrs.frozen(kw_only=True)
class Service(Common):
    """What all connections of a server have in common."""

    tls: ssl.SSLContext | None
    https_compatible: bool
    proxy: ProxyPolicy | None
    handshakes: trio.abc.AsyncResource | Any = None
    overseer: Overseer
    #: There is one as soon as there is a task for it.
    pump: Pump | None = None

    @property
    def opens_with_handshake(self) -> bool:
        """Whether there is anything to do between the accept and the handler."""
        return self.tls is not None or self.proxy is not None


@final
class Visit(Turn):
    """One connection's stay. `run()` is its task."""

    __slots__ = ()

    takes = "one connection"

    _common: Service  # said again for type checkers, as the next one
    _guest: Connection

    def _close(self) -> Awaitable[None] | None:
        entry, service, wire = self._entry, self._common, self._guest.wire
        truncated = self._failed or wire.is_broken_off or (self._cut and self._is_in_the_middle())
        try:
            if entry.request_since != NEVER:  # it was cancelled in the middle of it
                truncated = True
                self._guest.end_request(entry.cause or Cause.FINISHED)
            if not isinstance(wire, SocketWire):
                return wire.aclose_now(reset=truncated)
            if truncated:
                wire.flush_nowait()  # whole answers that were gathered come before the reset
            wire.close_now(reset=truncated)
            return None
        finally:
            service.overseer.forget(entry)
            if service.pump is not None:
                service.pump.leave()

    def _is_in_the_middle(self) -> bool:
        """Whether a handler that was cancelled may have had more to say: see the third invariant."""
        wire = self._guest.wire
        return self._entry.stage == "serving" and bool(wire.received or wire.sent) and not wire.ended_waiting

    def _is_broken_off(self) -> bool:
        return self._guest.wire.is_broken_off

    def _open(self) -> Awaitable[bool] | None:
        self._guest.wire.just_begun = True
        if self._entry.stage == "queued" or self._common.opens_with_handshake:
            return self._come_in()
        return None

    async def _come_in(self) -> bool:
        if self._entry.stage == "queued":
            await self._wait_slot()
        return not self._common.opens_with_handshake or await self._shake_hands()

    def _part(self) -> Awaitable[None] | None:
        entry, wire = self._entry, self._guest.wire
        if entry.cause is None and wire.has_expired:
            entry.cause = Cause.IDLE
            self._common.roster.tally.idled += 1
        if entry.request_since != NEVER:
            self._guest.end_request(entry.cause or Cause.FINISHED)
        if wire.is_broken_off:
            return None  # the end of the stream would make half an answer look like a whole one
        if wire.heard_all and isinstance(wire, SocketWire) and wire.is_settled:
            return None  # the usual end: everything is said on both sides
        return self._say_goodbye(wire)

    async def _say_goodbye(self, wire: SocketWire | StreamWire) -> None:
        if isinstance(wire, SocketWire):
            await wire.settle()
        # Also after a handshake that failed: the alert that says why is a reply like any other.
        if wire.heard_all or wire.is_closed or self._guest.timeouts.close <= 0:
            return
        entry = self._entry
        entry.stage = "closing"
        entry.closing_since = entry.now()
        entry.cause = entry.cause or Cause.FINISHED
        try:
            await wire.say_goodbye()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            # Somebody else has closed it, has taken the socket out of it, or still reads from it: there is
            # nobody to say goodbye to, and that is no other connection's affair.
            pass

    # Handshake

    def _is_one_too_many(self) -> bool:
        """Count the client that a proxy has named; return whether that is one too many, and is closed without
        a word. One too many is not counted and holds no slot, as one that is refused with its accept.
        """
        entry, connection, service = self._entry, self._guest, self._common
        header, roster, overflow = connection.proxy_header, service.roster, service.limits.overflow
        if header is None or header.source is None:
            return False  # it was counted with the accept, or is the proxy's own
        keys = roster.keys_for(connection.peer)
        reason = roster.refusal(keys)
        if reason is None:
            roster.add_keys(entry, keys)
            return False
        has_room = roster.unslotted < service.limits.max_overflowing
        roster.take_back(entry)
        roster.tally.refused[reason] += 1
        service.emitter.emit(Refused, peer=connection.peer, reason=reason)
        entry.cause = Cause.OVERFLOW
        if not callable(overflow) or not has_room:
            return True
        self._handler = overflow
        entry.due = entry.now() + service.timeouts.handshake  # a farewell: as for one refused with its accept
        return False

    async def _leave_now(self) -> None:
        """Close without a goodbye, which would wait for the peer."""
        wire = self._guest.wire
        if isinstance(wire, SocketWire):
            wire.close_now()
        else:
            await wire.aclose_now()

    async def _shake_hands(self) -> bool:
        """Read the PROXY header and agree on TLS; return whether that went well."""
        entry, connection, service = self._entry, self._guest, self._common
        entry.stage = "handshake"
        entry.handshake_since = entry.accepted
        try:
            async with service.handshakes:
                if service.proxy is not None:
                    await connection.read_proxy_header(service.proxy)
                    if service.roster.counts_peers and self._is_one_too_many():
                        await self._leave_now()
                        return False
                if service.tls is not None:
                    await connection.start_tls(service.tls, https_compatible=service.https_compatible)
        except (PeerError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            entry.cause = entry.cause or Cause.HANDSHAKE
            self._error = error
            self._tell(HandshakeRefused, error=error)
            return False
        except trio.Cancelled:
            if entry.cause is Cause.HANDSHAKE:
                self._tell(HandshakeRefused, error=None)
            raise
        entry.stage = "serving"
        entry.ready_since = entry.now()
        if service.emitter.takers(HandshakeFinished):
            tls = connection.tls
            self._tell(
                HandshakeFinished,
                duration=trio.current_time() - entry.accepted,
                tls_version=tls.version if tls else None,
                cipher=tls.cipher if tls else None,
                alpn=tls.alpn if tls else None,
            )
        return True
