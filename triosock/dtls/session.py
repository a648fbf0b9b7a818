"""A DTLS association, and its task: handshake, then handler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import trio

from .._core.model.addresses import Address
from .._core.model.events import (
    Cause,
    HandlerStarted,
    HandshakeFinished,
    HandshakeRefused,
    RequestFinished,
    RequestStarted,
)
from .._core.model.misuse import write
from .._core.registry.registry import NEVER, Entry
from .._core.server.base_server import Server
from .._core.server.handler_run import Common, HandlerRun
from .._core.server.handshake_places import HandshakePlaces
from .._core.server.statistics import ServerStatistics
from .._core.transport.interface import BytesLike, check_sendable
from .socket import EndpointSocket

if TYPE_CHECKING:
    from typing import Self

#: The plain text of one DTLS record: RFC 6347, 4.1, and RFC 5246, 6.2.1.
MAX_BYTES: Final = 16_384


@final
class DtlsSession:
    """A DTLS association, as its handler sees it: an async iterator over its datagrams, and `send`.

    `channel` is trio's `DTLSChannel`, for its other methods.

    Drain: ends a wait in `async for` at once, after the datagrams that have arrived; nothing else until the
    grace period is over. A peer that has sent nothing yet may send its first datagram for five seconds after
    its handshake.
    """

    def __init__(
        self, channel: trio.DTLSChannel, entry: Entry, sock: EndpointSocket, server: Server[ServerStatistics]
    ) -> None:
        self.channel = channel
        self._sock = sock
        self.entry = entry
        self.server = server
        self.received: int = 0
        self.sent: int = 0
        #: What was raised because the peer has begun anew, or was never there.
        self.failure: trio.BrokenResourceError | None = None
        name, destination = channel.peer_address
        self.peer: Address = sock.inner.peer_address(name)
        self.local: Address = sock.inner.local_address(destination)
        self._waiting: trio.CancelScope | None = None
        self._interrupted = False
        entry.served = self

    def __repr__(self) -> str:
        return f"<triosock.dtls.DtlsSession {self.id} with {self.peer}>"

    @property
    def id(self) -> int:
        """Its number in its server, from 1 on."""
        return self.entry.number

    @property
    def wire(self) -> DtlsSession:
        """The object that carries its bytes: the session itself."""
        return self

    @property
    def is_closed(self) -> bool:
        """Whether the server has ended."""
        return self._sock.inner.is_closed

    @property
    def draining(self) -> bool:
        """Whether it is to end: by a drain, or after `Timeouts.idle`."""
        return self._interrupted or self.entry.spared_until > 0

    if not TYPE_CHECKING:  # see misuse.py
        __iter__ = write("async for data in session:")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Wait for the next datagram and return its bytes. Idle: ended by a drain and by `Timeouts.idle`."""
        entry = self.entry
        self.end_request()
        with trio.CancelScope() as self._waiting:
            if self._interrupted:
                # One look at what is there: it is cancelled as soon as it waits.
                trio.lowlevel.current_trio_token().run_sync_soon(self._waiting.cancel)
            entry.idle_since = trio.current_time()
            try:
                data = await self._receive()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
            finally:
                entry.idle_since = NEVER
                self._waiting = None
            if entry.spared_until:  # this was the one that the drain has waited for
                entry.spared_until, self._interrupted = 0.0, True
            self._begin_request()
            return data
        raise StopAsyncIteration

    def _begin_request(self) -> None:
        entry, emitter = self.entry, self.server.observers
        entry.request_since = trio.current_time()
        entry.request_due = entry.request_since + self.server.timeouts.request
        if emitter.takers(RequestStarted):
            emitter.emit(RequestStarted, connection=self.id, peer=self.peer)

    def end_request(self, cause: Cause = Cause.FINISHED) -> None:
        """Note that the work on one datagram is done; nothing happens if none is in progress."""
        entry, emitter = self.entry, self.server.observers
        if entry.request_since == NEVER:
            return
        if emitter.takers(RequestFinished):
            duration = trio.current_time() - entry.request_since
            emitter.emit(RequestFinished, connection=self.id, peer=self.peer, duration=duration, cause=cause)
        entry.request_since = entry.request_due = NEVER

    async def receive(self) -> bytes:
        """Wait for the next datagram of this exchange and return its bytes.

        Raises: trio.BrokenResourceError if the peer has begun a new association, or ended this one. A
        checkpoint. Cancellation: nothing was taken. Drain: does not end it.
        """
        self.entry.receive_since = trio.current_time()
        try:
            return await self._receive()
        except trio.EndOfChannel:
            self.failure = trio.BrokenResourceError("the peer has ended the association")
            raise self.failure from None
        finally:
            self.entry.receive_since = NEVER

    async def _receive(self) -> bytes:
        from OpenSSL import SSL

        try:
            data = await self.channel.receive()
        except trio.BrokenResourceError as error:
            self.failure = error
            raise
        except SSL.ZeroReturnError:
            raise trio.EndOfChannel from None
        except SSL.Error as error:
            self.failure = trio.BrokenResourceError(f"the peer has broken the association: {error!r}")
            raise self.failure from error
        self.received += len(data)
        return data

    async def send(self, data: BytesLike) -> None:
        """Send one datagram of 1 to 16,384 bytes, encrypted. Waits only if the kernel has no room. A
        checkpoint.

        Raises: TypeError if `data` is not bytes-like; ValueError for any other length;
        trio.BrokenResourceError if the peer has begun anew; trio.ClosedResourceError after the end of the
        server.
        """
        if not 0 < (size := check_sendable(data)) <= MAX_BYTES:
            raise ValueError(f"data must have from 1 to {MAX_BYTES:,} bytes (one record), not {size:,}")
        if self.is_closed:
            raise trio.ClosedResourceError(f"nothing can be sent to {self.peer}: the server has ended")
        self.entry.send_since = trio.current_time()
        try:
            await self.channel.send(bytes(data))
        except trio.BrokenResourceError as error:
            self.failure = error
            raise
        finally:
            self.entry.send_since = NEVER
        self.sent += size

    def has_input(self) -> None:
        """Not known: all associations share one socket."""

    def has_room(self) -> None:
        """Not known, either."""

    def interrupt_idle(self, cause: Cause) -> None:
        """End the iteration, after the datagrams that have arrived."""
        self._interrupted = True
        if cause is Cause.IDLE:
            self.entry.cause = self.entry.cause or cause
        if self._waiting is not None:
            self._waiting.cancel(reason=f"triosock: {cause}")


@final
class AssociationTask(HandlerRun):
    """One association. `run()` is its task."""

    __slots__ = ("_places", "_session")

    takes = "one DTLS session"

    def __init__(self, common: Common, session: DtlsSession, places: HandshakePlaces) -> None:
        super().__init__(common, session, session.entry, common.handler)
        self._session = session
        self._places = places

    async def run(self) -> None:
        """Do all steps of an association: the handshake, the handler, the close."""
        entry = self._entry
        entry.task = trio.lowlevel.current_task()
        try:
            with entry.scope:
                if await self._do_handshake():
                    if self._common.emitter.wants_handlers:
                        self.tell(HandlerStarted)
                    await self.call_handler()
            if self._failed or entry.scope.cancelled_caught:
                await self.answer()
        except BaseException as error:
            self.note_passing(error)
            raise
        finally:
            self._session.end_request(entry.cause or Cause.FINISHED)
            self.unregister()

    async def _do_handshake(self) -> bool:
        """Agree with the peer; return whether that went well."""
        from OpenSSL import SSL

        entry = self._entry
        entry.stage, entry.handshake_since = "handshake", entry.accepted
        try:
            await self._do_handshake_in_place()
        except (SSL.Error, trio.BrokenResourceError) as error:
            entry.cause = entry.cause or Cause.HANDSHAKE
            self.tell(HandshakeRefused, error=error)
            return False
        except trio.Cancelled:
            if entry.cause is Cause.HANDSHAKE:
                self.tell(HandshakeRefused, error=None)
            raise
        entry.stage, entry.ready_since = "serving", trio.current_time()
        self.tell(HandshakeFinished, duration=entry.ready_since - entry.accepted, tls_version="DTLS")
        return True

    async def _do_handshake_in_place(self) -> None:
        """Do the handshake, holding a place of `Limits.max_handshakes`."""
        entry = self._entry
        await self._places.take(entry)
        entry.receive_since = trio.current_time()  # nearly all of it is a wait for the peer
        try:
            await self._session.channel.do_handshake()
        finally:
            entry.receive_since = NEVER
            self._places.give_back(entry)
