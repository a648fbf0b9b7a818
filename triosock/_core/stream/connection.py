"""The connection that a handler is given: a stream with a peer. Its receiving methods are in `receiving.py`.

The invariant: **sending adds no layer**; `send_all` is the coroutine of the wire.
"""

from __future__ import annotations

import socket
from collections.abc import Coroutine
from typing import IO, TYPE_CHECKING, Any, final

import trio

from ..listeners.listener import Accepted, PeerName
from ..model.addresses import Address
from ..model.config import Timeouts
from ..model.errors import HandshakeFailed, PeerError
from ..model.misuse import write
from ..model.peer_credentials import PeerCredentials, peer_credentials
from ..protocols.proxy_parser import ProxyHeader, ProxyPolicy
from ..registry.registry import Entry
from ..transport.certificates import Certificates, context_for_handshake
from ..transport.interface import BytesLike
from ..transport.sendfile import send_file
from ..transport.socket import SocketWire
from ..transport.stream_adapter import StreamWire
from ..transport.tls import (
    ServerTls,
    TlsInfo,
    TlsStreamWire,
    TlsWire,
    check_context,
    check_server_tls,
    encrypt,
)
from ..transport.wires import make_wire
from .receiving import Receiving
from .request_state import IdleBlock, RequestBlock


@final
class Connection(  # pyright: ignore[reportIncompatibleMethodOverride] - see Receiving.receive_some
    Receiving, trio.abc.HalfCloseableStream
):
    """A connection, as its handler sees it: a `trio.abc.HalfCloseableStream` with the peer's address and
    methods that read messages.

    Servers make connections. A client can make one around any `trio.abc.Stream` or non-blocking
    `socket.socket`, to use its reading methods. One task may receive and one may send at a time; a second one
    gets `trio.BusyResourceError`.

    Timeouts are enforced by the server that made it. Of a connection that no server made only
    `Timeouts.request` holds, in `request()` blocks; for anything else use `trio.fail_after()`.

    Errors: `trio.BrokenResourceError` if the peer has reset the connection, or an earlier send was cancelled
    half-way; `trio.ClosedResourceError` if it was closed on this side.

    Cancellation: every async method is a checkpoint, unless its description says otherwise. A cancelled
    receive has taken nothing.

    Drain: ends idle waits (`lines()`, `frames()`, `wait_request()`, `idle()`) and nothing else until the
    grace period is over; then the handler is cancelled.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # see misuse.py
        __iter__ = write("async for data in conn:")
        __enter__ = write("async with conn:")
        __exit__ = write("async with conn:")

    # Declared again for type checkers, since methods of this class set them.
    wire: SocketWire | StreamWire
    proxy_header: ProxyHeader | None

    def __init__(
        self,
        transport: Accepted,
        *,
        peer: PeerName = None,
        local: Address | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        entry = Entry(accepted=trio.current_time())
        super().__init__(
            make_wire(transport, entry), entry, timeouts or _NO_TIMEOUTS, None, peer, local, None
        )

    def __repr__(self) -> str:
        return f"<triosock.Connection {self.id} with {self.peer}>"

    @property
    def id(self) -> int:
        """The number of this connection in its server, from 1 on; 0 if no server made it."""
        return self.entry.number

    @property
    def tls(self) -> TlsInfo | None:
        """What was agreed on in the TLS handshake; None without TLS."""
        return self._tls

    @property
    def draining(self) -> bool:
        """Whether this connection is to end when it is idle: the server drains, or the connection has reached
        its age (`Timeouts.max_age`) or its number of requests (`Limits.max_requests_per_connection`). A
        handler may read it to end sooner.
        """
        if self.wire.is_interrupted or self.entry.spared_until:
            return True
        return self.server is not None and self.server.draining

    @property
    def received(self) -> int:
        """Bytes received so far (of the plain text, under TLS)."""
        return self.wire.received

    @property
    def sent(self) -> int:
        """Bytes that the kernel or the stream has taken so far (of the plain text, under TLS)."""
        return self.wire.sent

    @property
    def transport(self) -> socket.socket | trio.abc.Stream:
        """The socket (non-blocking, of the standard library) or stream underneath, for its options. Bytes
        that are read from it do not reach the methods of the connection.
        """
        if isinstance(self.wire, SocketWire):
            self.wire.flush_nowait()  # what the caller writes to it comes after what was sent before
        return self.wire.transport

    def credentials(self) -> PeerCredentials:
        """Return process, user and group id of the other end of a Unix socket. Raises: OSError, or TypeError
        if this is not a Unix socket on Linux.
        """
        return peer_credentials(self.wire.transport)

    # Marking

    def idle(self) -> IdleBlock:
        """Return a context manager that marks the wait for the next request, for code that receives by a
        library of its own; in most cases `wait_request()` is simpler::

            data = b""
            with conn.idle():
                data = await conn.receive_some()

        The wait is idle until a method has received the first byte; what follows in the block is part of the
        request, under `Timeouts.request`.

        Drain: ends the block at once, unless the request has arrived already; `Timeouts.idle` ends it too.
        The block is then left without an exception, and `data` above stays empty, as at the end of the
        stream.

        Raises, when it is entered: RuntimeError inside another idle block of this connection.
        """
        return IdleBlock(self)

    def request(self, *, timeout: float | None = None) -> RequestBlock:
        """Return an async context manager that marks the work on one request, with a deadline.

        Args: `timeout`, in seconds. The deadline is the earliest of `timeout`, `Timeouts.request` and that of
        a request that has begun already.

        Raises: TypeError, ValueError for a wrong `timeout`. At the end of the block: RequestTimedOut (also a
        trio.TooSlowError) if the deadline has passed; uncaught, it ends the connection. When it is entered:
        RateExceeded, if a rate of `Limits` refuses the request.

        Drain: the block goes on until the grace period is over. Neither entering nor leaving it is a
        checkpoint, unless a rate of requests makes it wait.
        """
        return RequestBlock(self, timeout)

    # Sending

    def send_all(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, data: BytesLike
    ) -> Coroutine[Any, Any, None]:
        """Send all of `data` (bytes, bytearray or memoryview).

        Raises: TypeError for other data; trio.BrokenResourceError, trio.ClosedResourceError (also after
        `send_eof`), trio.BusyResourceError.

        Always a cancel point. Also a schedule point, unless something was received before and at most 64 KiB
        were sent since (each send counts as 4 KiB at least). In a loop over `lines()` whose next line has
        arrived already, up to 16 small answers are sent together: with the last of them, or when the task
        next waits.

        Cancellation: if only a part was sent, the next send raises trio.BrokenResourceError. `Timeouts.send`
        ends the connection if the peer takes nothing for so long. Drain: does not end it.
        """
        return self.wire.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Return when `send_all` might not block, as `trio.abc.SendStream` defines it. `Timeouts.send` bounds
        the wait.

        If the peer is gone it returns, and the next send raises.

        Raises: trio.BrokenResourceError if an earlier send ended half-way; trio.ClosedResourceError if it was
        closed on this side, or after `send_eof`; trio.BusyResourceError while another task sends. A
        connection over a trio stream raises what the stream's own method raises.

        A checkpoint. Cancellation: loses nothing. Drain: does not end it.
        """
        await self.wire.wait_send_all_might_not_block()

    async def send_file(self, file: IO[bytes], *, offset: int | None = None, count: int | None = None) -> int:
        """Send a file, or `count` bytes of it from `offset` on, without copying it through Python where the
        system can (sendfile(2)).

        Args: `file`, open for reading in binary mode; `offset`, from 0 on, None for the file's position;
        `count`, from 0 on, None for all up to its end.

        Returns: the number of bytes sent; fewer than `count` if the file is shorter.

        Raises: TypeError, ValueError for wrong arguments; what reading the file raises, such as OSError;
        otherwise as `send_all`. If a part of the file was sent, every later send raises
        trio.BrokenResourceError.

        A checkpoint. Cancellation and drain: as for `send_all`.
        """
        return await send_file(self.wire, file, offset, count)

    @property
    def can_send_eof(self) -> bool:
        """Whether the stream can be ended in one direction: TCP and Unix sockets can, TLS cannot."""
        return self.wire.can_half_close

    async def send_eof(self) -> None:
        """End the stream in this direction (half-close). The peer may still send.

        Raises: TypeError under TLS, and over a stream that cannot be half-closed; trio.ClosedResourceError;
        trio.BusyResourceError while another task sends.
        """
        if not self.wire.can_half_close:
            what = "TLS" if self._tls is not None else type(self.transport).__name__
            raise TypeError(
                f"{what} cannot end the stream in one direction: use aclose() when everything is said"
            )
        await self.wire.send_eof()

    async def start_tls(
        self,
        context: ServerTls,
        *,
        server_side: bool = True,
        server_hostname: str | None = None,
        https_compatible: bool = False,
    ) -> TlsInfo:
        """Put TLS on this connection, for protocols that begin in the clear (STARTTLS).

        Args:
          context: an `ssl.SSLContext` for this side, or a server's `Certificates`.
          server_side: whether this is the server.
          server_hostname: on a client, the name to ask for and to check.
          https_compatible: treat a close without a close_notify as the end of the stream. Only for protocols
            that mark the end of a message themselves, such as HTTP: otherwise an attacker could truncate the
            stream unnoticed.

        Returns: what was agreed on; `tls` has it from then on.

        Raises: HandshakeFailed, also if plain text is left in the buffer: an attacker could have injected it,
        to be taken for a part of the encrypted stream (CVE-2011-0411). RuntimeError if TLS is on or was begun
        already; trio.ClosedResourceError if the connection was closed on this side; TypeError, ValueError for
        a `server_hostname` that is none. After any of these, or a cancellation, the connection can only be
        closed. `Timeouts.handshake` bounds it.
        """
        given = check_server_tls(context) if server_side else check_context(context, server_side=False)
        self._check_that_tls_can_begin()
        if isinstance(self.wire, SocketWire):
            await self.wire.settle()
        entry = self.entry
        stage, entry.stage = entry.stage, "handshake"
        if stage != "handshake":  # the server's own handshake has begun with the accept
            entry.handshake_since = trio.current_time()
        try:
            if isinstance(given, Certificates):
                given = await context_for_handshake(given, self.emitter)
            self._check_that_tls_can_begin()  # another task may have closed it meanwhile
            ways = (server_side, server_hostname, https_compatible)
            self.wire = encrypted = encrypt(self.wire, given, *ways)
            await encrypted.handshake()
            self._tls = encrypted.info(server_hostname)
        except PeerError as error:
            error._of(self)
            raise
        finally:
            entry.stage = stage
        return self._tls

    def _check_that_tls_can_begin(self) -> None:
        if isinstance(self.wire, (TlsWire, TlsStreamWire)):
            raise RuntimeError("TLS is on already, or was begun")
        if self.wire.is_closed:
            raise trio.ClosedResourceError("this connection is closed")
        if self._buffer:
            raise HandshakeFailed(
                f"the peer sent {len(self._buffer)} bytes in the clear after which TLS should begin"
            )._of(self)

    async def read_proxy_header(self, policy: ProxyPolicy) -> None:
        """Read the PROXY header that comes before the peer's first byte; `peer` is then the address that it
        names.

        `serve_*(proxy=…)` does it for every connection. Raises: ProxyHeaderError. Cancellation: the
        connection can only be closed.
        """
        try:
            self.proxy_header = await policy.admit(self.peer, self.wire.receive_some)
        except PeerError as error:
            error._of(self)
            raise
        if self.proxy_header is not None and self.proxy_header.source is not None:
            self._peer = self.proxy_header.source

    # Ending

    async def aclose(self) -> None:
        """Close, as trio's streams do: what was sent stays sent, and what the peer still sends is not
        received. A handler need not call it: when it returns, the server ends the connection properly. One
        that sends afterwards has failed.

        Cancellation: the connection is closed all the same. Tasks that wait for it get
        trio.ClosedResourceError. A checkpoint. May be called again.
        """
        self._note_closer()
        try:
            if isinstance(self.wire, SocketWire):
                await self.wire.settle()
        finally:
            await self.wire.aclose_now()
            self._break_cycles()
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Close at once, with a reset where the transport has one (TCP), so that the peer does not take it
        for a proper end. What was not sent yet is discarded.

        Synchronous; any task may call it, more than once. Tasks that wait for this connection get
        trio.ClosedResourceError.

        Raises: TypeError over a trio stream that cannot be closed synchronously (it has no method `abort` or
        `close`); OSError if the socket in `transport` was closed by other means.
        """
        self._note_closer()
        self.wire.close_now(reset=True)
        self._break_cycles()

    def _break_cycles(self) -> None:
        """Drop references that form a cycle, so that nothing is left to the garbage collector. (The traceback
        of a failure refers to the wire.) A server's connections have `HandlerRun` for that.
        """
        if self.server is None:
            self.entry.served = self.wire.failure = None

    def _note_closer(self) -> None:
        task = self.entry.task
        if task is not None and trio.lowlevel.in_trio_task() and trio.lowlevel.current_task() is task:
            self.entry.closed_by_handler = True


_NO_TIMEOUTS = Timeouts()
