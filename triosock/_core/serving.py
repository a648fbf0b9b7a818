"""The life of one connection, from its accept to its close: one task, one scope, one file.

    slot → PROXY header and TLS → handler → goodbye → closed, counted, told

The invariants:

1. **Whatever happens in the middle, the end happens**: the socket is closed, the entry leaves the roster, the observers are told.
2. **A failing handler costs its own connection.** An `Exception` is an event; what is no `Exception` (a cancellation from around,
   Ctrl-C) is not ours to stop, and passes.
3. **Every end has one cause**, the first that was decided: see `Cause`.
4. **A reply survives the input that nobody read**: a close with unread input would make the kernel send a reset, which takes the
   reply with it. So the handler's end is a half-close; then input is thrown away until the peer closes, or `Timeouts.close` is over.
"""

from __future__ import annotations

import ssl
import sys
import types
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias, final

import attrs
import trio

from .connection import Connection
from .errors import PeerError, RequestTimedOut
from .events import Cause, ConnectionClosed, Emitter, HandlerFailed, HandshakeFinished, HandshakeRefused, Refused
from .limits import Limits, Timeouts
from .proxy import ProxyPolicy
from .roster import Roster
from .streams import StreamWire

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

Handler: TypeAlias = Callable[[Connection], Awaitable[object]]
ErrorHandler: TypeAlias = Callable[[Exception, Connection], Awaitable[object]]
OnError: TypeAlias = Literal["log", "raise"] | ErrorHandler


@attrs.frozen(kw_only=True)
class Service:
    """What all connections of a server have in common."""

    handler: Handler
    on_error: OnError
    limits: Limits
    timeouts: Timeouts
    tls: ssl.SSLContext | None
    proxy: ProxyPolicy | None
    roster: Roster
    emitter: Emitter
    handshakes: trio.abc.AsyncResource | Any = None

    @property
    def opens_with_handshake(self) -> bool:
        """Whether there is anything to do between the accept and the handler."""
        return self.tls is not None or self.proxy is not None


@final
class Visit:
    """One connection's stay. `run()` is its task."""

    __slots__ = ("_connection", "_entry", "_error", "_handler", "_service")

    def __init__(self, service: Service, connection: Connection, handler: Handler) -> None:
        self._service = service
        self._connection = connection
        self._entry = connection.entry
        self._handler = handler
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Serve the connection; return when it is closed and no longer counted."""
        entry = self._entry
        entry.task = trio.lowlevel.current_task()
        try:
            with entry.scope:
                await self._stay()
        except BaseException as error:
            if entry.cause is None:
                entry.cause = Cause.PARENT if _is_cancellation(error) else Cause.FAILED
            raise
        finally:
            try:
                await self._connection.wire.aclose_now()
            finally:
                self._leave()

    async def _stay(self) -> None:
        entry, service = self._entry, self._service
        if entry.stage == "queued":
            await service.roster.wait_slot(entry)
            entry.stage = "serving"
        if not service.opens_with_handshake or await self._shake_hands():
            await self._handle()
        self._connection.end_request(entry.cause or Cause.FINISHED)
        # Also after a handshake that failed: the alert that says why is a reply like any other.
        wire = self._connection.wire
        if service.timeouts.close > 0 and not wire.is_closed:
            entry.stage = "closing"
            entry.closing_since = trio.current_time()
            entry.cause = entry.cause or Cause.FINISHED
            await wire.say_goodbye()

    # Handshake

    async def _shake_hands(self) -> bool:
        """Read the PROXY header and agree on TLS; return whether that went well."""
        entry, connection, service = self._entry, self._connection, self._service
        entry.stage = "handshake"
        entry.handshake_since = entry.accepted
        try:
            async with service.handshakes:
                if service.proxy is not None:
                    await connection.read_proxy_header(service.proxy)
                if service.tls is not None:
                    await connection.start_tls(service.tls)
        except (PeerError, trio.BrokenResourceError) as error:
            entry.cause = entry.cause or Cause.HANDSHAKE
            self._error = error
            self._tell(HandshakeRefused, error=error)
            return False
        except trio.Cancelled:
            if entry.cause is Cause.HANDSHAKE:
                self._tell(HandshakeRefused, error=None)
            raise
        entry.stage = "serving"
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

    # Handler

    async def _handle(self) -> None:
        connection = self._connection
        try:
            awaitable = self._handler(connection)
            # The usual case is told by its exact type, which is cheaper than asking whether it is any awaitable.
            if type(awaitable) is not types.CoroutineType and not isinstance(awaitable, Awaitable):
                raise NotAwaitable(self._handler, awaitable)
            await awaitable
        except NotAwaitable:
            raise  # no peer can cause it or cure it: the program is wrong, and must hear so
        except Exception as error:  # a failing handler costs its own connection: rule 2
            await self._consider(error)

    async def _consider(self, error: Exception) -> None:
        """Decide whose fault it was, and do what `on_error` says if it was the handler's."""
        on_error = self._service.on_error
        self._error = error
        if on_error == "raise":
            raise error
        cause = blame(error, self._connection)
        self._entry.cause = self._entry.cause or cause
        if cause is not Cause.FAILED:
            return
        self._tell(HandlerFailed, error=error)
        if callable(on_error):
            try:
                await on_error(error, self._connection)
            except Exception as second:  # an error handler that fails costs the same connection, and no more
                self._tell(HandlerFailed, error=second)

    # End

    def _leave(self) -> None:
        """Count and tell. Synchronous: an entry leaves the roster in the moment in which it is closed."""
        entry, service, wire = self._entry, self._service, self._connection.wire
        tally = service.roster.tally
        tally.received += wire.received
        tally.sent += wire.sent
        if entry.stage == "queued":
            tally.refused["drain"] += 1
            service.emitter.emit(Refused, peer=entry.peer, reason="drain")
        else:
            entry.cause = entry.cause or Cause.FINISHED
            tally.ended[entry.cause] += 1
        service.roster.remove(entry)
        entry.task = None
        if service.emitter.takers(ConnectionClosed):
            self._tell(
                ConnectionClosed,
                cause=entry.cause or Cause.DRAIN,
                received=wire.received,
                sent=wire.sent,
                duration=trio.current_time() - entry.accepted,
                error=self._error,
            )

    def _tell(self, kind: type[Any], **fields: Any) -> None:
        self._service.emitter.emit(kind, connection=self._entry.number, peer=self._connection.peer, **fields)


class NotAwaitable(TypeError):
    """The handler returned something that cannot be awaited."""

    def __init__(self, handler: object, result: object) -> None:
        super().__init__(
            f"handler must be an async function of one connection: {handler!r} returned {result!r}, which cannot be awaited"
        )


def blame(error: BaseException, connection: Connection) -> Cause:
    """Return whose doing an exception of the handler was: PEER, REQUEST (its deadline), or FAILED (the handler's own)."""
    if isinstance(error, ExceptionGroup):
        causes = {blame(one, connection) for one in error.exceptions}
        return causes.pop() if len(causes) == 1 else Cause.FAILED
    if isinstance(error, RequestTimedOut):
        return Cause.REQUEST
    if isinstance(error, PeerError):
        return Cause.PEER
    wire = connection.wire
    if isinstance(error, trio.BrokenResourceError) and (isinstance(wire, StreamWire) or error is wire.failure):
        # Only of this connection: a handler that talks to others may fail at their end, and that is its own affair.
        return Cause.PEER
    if isinstance(error, trio.ClosedResourceError) and wire.is_closed:
        return Cause.FINISHED  # by abort() or aclose(), from another task of the program
    return Cause.FAILED


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancellation(one) for one in error.exceptions)
    return isinstance(error, trio.Cancelled)
