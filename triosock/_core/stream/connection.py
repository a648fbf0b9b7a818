"""A stream with a peer: what a handler is given. What it receives is in `receiving.py`.

The invariant: **what is sent goes straight through**; `send_all` is that of the wire.
"""

from __future__ import annotations

import socket
from collections.abc import Coroutine
from typing import IO, Any, final

import trio

from ..listeners.listener import Accepted, PeerName
from ..model.addresses import Address
from ..model.config import Timeouts
from ..model.errors import HandshakeFailed, PeerError
from ..model.peer_credentials import PeerCredentials, peer_credentials
from ..protocols.proxy_parser import ProxyHeader, ProxyPolicy
from ..registry.registry import Entry
from ..transport.certificates import Certificates, context_for_handshake
from ..transport.interface import BytesLike
from ..transport.sendfile import send_file
from ..transport.socket import SocketWire
from ..transport.stream_adapter import StreamWire
from ..transport.tls import ServerTls, TlsInfo, check_context, check_server_tls, encrypt
from ..transport.wires import make_wire
from .receiving import Receiving
from .request_state import IdleBlock, RequestBlock


@final
class Connection(  # pyright: ignore[reportIncompatibleMethodOverride] - see Receiving.receive_some
    Receiving, trio.abc.HalfCloseableStream
):
    """A connection, as its handler sees it: a `trio.abc.HalfCloseableStream` that knows its peer and how to
    read messages.

    Servers make them; one can also be made around any `trio.abc.Stream` or non-blocking `socket.socket`, to
    use its reading methods on the client's side. It is to be used by one receiving and one sending task at a
    time; a second one gets `trio.BusyResourceError`.

    Errors: `trio.BrokenResourceError` if the peer reset the connection, or an earlier send was cancelled
    half-way; `trio.ClosedResourceError` if it was closed on this side.

    Cancellation: every async method is a checkpoint, if its description does not say otherwise. A cancelled
    receive has taken nothing.

    Drain: ends idle waits (`lines()`, `frames()`, `wait_request()`, `idle()`) and nothing else, until the
    grace is over; then the handler is cancelled.
    """

    __slots__ = ()

    # Said again for type checkers, since methods of this class set them.
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
        """Whether the server has asked this connection to end when it is idle: in a drain, or because it is
        too old or has had its requests. A handler may use it to end sooner.
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
        """The socket (non-blocking, of the standard library) or stream underneath, for its options. Reading
        from it is at your risk.
        """
        if isinstance(self.wire, SocketWire):
            self.wire.flush_nowait()  # whoever writes to it writes behind what was sent before
        return self.wire.transport

    def credentials(self) -> PeerCredentials:
        """Return who is at the other end of a Unix socket. Raises: OSError, or TypeError if this is not a
        Unix socket of Linux.
        """
        return peer_credentials(self.wire.transport)

    # Marking

    def idle(self) -> IdleBlock:
        """Return a context manager that marks the wait for the next request, for code that receives by a
        library of its own; in most cases `wait_request()` is simpler::

            data = b""
            with conn.idle():
                data = await conn.receive_some()

        The wait is idle until the first byte has come, by whichever method; what comes after that in the
        block is a part of the request, under `Timeouts.request`.

        Drain: ends the block at once, unless the request is there already. `Timeouts.idle` does the same.
        Either way the block is left quietly, and `data` above stays empty, as at the end of the stream. Only
        one block at a time: RuntimeError.
        """
        return IdleBlock(self)

    def request(self, *, timeout: float | None = None) -> RequestBlock:
        """Return an async context manager that marks the work on one request, with a deadline.

        Args: `timeout`, in seconds; the tightest of it, `Timeouts.request` and what is left of a request that
        has begun counts.

        Raises, at its end: RequestTimedOut (also a trio.TooSlowError) if the deadline cut it short; uncaught,
        it ends the connection. When it is entered: RateExceeded, if a rate of `Limits` has it refused.

        Drain: leaves the block alone until the grace is over. Neither entering nor leaving it is a
        checkpoint, unless a rate of requests makes it wait.
        """
        return RequestBlock(self, timeout)

    # Sending

    def send_all(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, data: BytesLike
    ) -> Coroutine[Any, Any, None]:
        """Send all of `data` (bytes, bytearray or memoryview). Drain: not ended by it.

        Always a cancel point. Others get their turn unless something was received before and no more than
        64 KiB was sent since (each send counted as 4 KiB at least): an answer needs no turn of its own. In a
        loop over `lines()` whose next line is here already, small answers leave together, with the last of
        them or when the task next waits for anything, whichever is first; 16 at most.

        Cancellation: if some of it was sent, and some not, the next send raises trio.BrokenResourceError.
        `Timeouts.send` cuts the connection off if the peer takes nothing for so long.
        """
        return self.wire.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Return when the peer may take more: as `trio.abc.SendStream` has it."""
        await self.wire.wait_send_all_might_not_block()

    async def send_file(self, file: IO[bytes], *, offset: int | None = None, count: int | None = None) -> int:
        """Send a file, or `count` bytes of it from `offset` on, without copying it through Python where the
        system can (sendfile(2)).

        Args: `file`, open for reading in binary; `offset`, from 0 on, None for where the file stands;
        `count`, from 0 on, None for all to its end.

        Returns: the bytes sent; fewer than `count` if the file is shorter. Cancellation: as `send_all`.
        """
        return await send_file(self.wire, file, offset, count)

    @property
    def can_send_eof(self) -> bool:
        """Whether the stream can be ended in one direction: TCP and Unix sockets can, TLS cannot."""
        return self.wire.can_half_close

    async def send_eof(self) -> None:
        """End the stream in this direction; the peer can still be heard.

        Raises: TypeError under TLS, which cannot be ended in one direction, and for a stream that cannot.
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
          context: an `ssl.SSLContext` for the side that this is, or a server's `Certificates`.
          server_side: whether this is the server's.
          server_hostname: on a client's, the name to ask for and to check.
          https_compatible: take a peer that closes without a close_notify for one that has ended the stream.
            Only for protocols that tell by themselves where a message ends, such as HTTP: otherwise an
            attacker could cut the stream without being noticed.

        Returns: what was agreed on, also as `tls` from then on.

        Raises: HandshakeFailed, also if the peer sent more in the clear than was asked for: it could have
        been put there by somebody else, to be taken for a part of the encrypted stream (CVE-2011-0411).
        RuntimeError if TLS is on already. The connection can then only be closed. `Timeouts.handshake` bounds
        it. Cancellation: likewise only to be closed.
        """
        given = check_server_tls(context) if server_side else check_context(context, server_side=False)
        self._check_that_tls_can_begin()
        if isinstance(self.wire, SocketWire):
            await self.wire.settle()
        entry = self.entry
        stage, entry.stage = entry.stage, "handshake"
        if stage != "handshake":  # the server's own one has begun with the accept
            entry.handshake_since = trio.current_time()
        try:
            if isinstance(given, Certificates):
                given = await context_for_handshake(given, self.emitter)
            self.wire = encrypted = encrypt(
                self.wire,
                given,
                server_side=server_side,
                server_hostname=server_hostname,
                https_compatible=https_compatible,
            )
            await encrypted.handshake()
            self._tls = encrypted.info(server_hostname)
        except PeerError as error:
            error._of(self)
            raise
        finally:
            entry.stage = stage
        return self._tls

    def _check_that_tls_can_begin(self) -> None:
        if self._tls is not None:
            raise RuntimeError("TLS is on already")
        if self._buffer:
            raise HandshakeFailed(
                f"the peer sent {len(self._buffer)} bytes in the clear after which TLS should begin"
            )._of(self)

    async def read_proxy_header(self, policy: ProxyPolicy) -> None:
        """Read the header that a proxy puts before the peer's first byte; `peer` is whom it names from then
        on.

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
        """Close, as trio's streams do: what was sent is sent, what the peer still says is not heard. A
        handler need not: when it returns, the server sees to a proper end.

        Cancellation: closed even so. Tasks that wait for this connection get trio.ClosedResourceError. A
        checkpoint.
        """
        try:
            if isinstance(self.wire, SocketWire):
                await self.wire.settle()
        finally:
            await self.wire.aclose_now()
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Close at once with a reset, so that the peer knows that it was no proper end. Synchronous; may be
        called by any task.
        """
        self.wire.close_now(reset=True)


_NO_TIMEOUTS = Timeouts()
