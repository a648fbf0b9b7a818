"""A stream with a peer: what a handler is given.

The invariants, beside those of the conversation:

1. **A byte is on the wire, in the buffer, or was returned.** No receiving method holds any across an await,
   so being cancelled loses none, and any method may follow any other.
2. **What is not buffered goes straight through**: `receive_some` and `send_all` are those of the wire.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from typing import IO, Any, final

import attrs
import trio

from ..listeners.listener import Accepted, PeerName
from ..model.addresses import Address
from ..model.config import Timeouts
from ..model.errors import HandshakeFailed, Incomplete
from ..model.peer_credentials import PeerCredentials, peer_credentials
from ..protocols.framing import DEFAULT_MAX_BYTES, Framer, check_delimiter, check_framer, check_max_bytes
from ..protocols.proxy_parser import ProxyHeader, ProxyPolicy
from ..registry.registry import Entry
from ..transport.epoll import Pump
from ..transport.interface import BytesLike, Interrupted, check_receive_size
from ..transport.sendfile import send_file
from ..transport.socket import SocketWire
from ..transport.stream_adapter import StreamWire
from ..transport.tls import TlsInfo, check_context, encrypt
from ..transport.write_batcher import Postman
from .messages import Frames, Lines
from .request_state import Conversation, IdleBlock, RequestBlock


@final
class Connection(Conversation, trio.abc.HalfCloseableStream):
    """A connection, as its handler sees it: a `trio.abc.HalfCloseableStream` that knows its peer and how to
    read messages.

    Servers make them; one can also be made around any `trio.abc.Stream` or non-blocking `socket.socket`, to
    use its reading methods on the client's side. It is to be used by one receiving and one sending task at a
    time; a second one gets `trio.BusyResourceError`.

    Errors: `trio.BrokenResourceError` if the peer reset the connection, or an earlier send was cancelled
    half-way; `trio.ClosedResourceError` if it was closed on this side.

    Cancellation: every async method is a checkpoint, if its description does not say otherwise. A cancelled
    receive has taken nothing.

    Drain: ends idle waits (`lines()`, `frames()`, `idle()`) and nothing else, until the grace is over; then
    the handler is cancelled.
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
        """Whether the server has asked its idle connections to end. A handler may use it to say goodbye
        sooner.
        """
        return self.wire.is_interrupted or (self.server is not None and self.server.draining)

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

    # Receiving

    # No `async def` here: one coroutine less for each call. To a type checker the two differ by a hair.
    def receive_some(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, max_bytes: int | None = None
    ) -> Coroutine[Any, Any, bytes]:
        """Wait for some bytes and return them; b"" at the end of the stream.

        Args: `max_bytes`, from 1 on; None leaves it to the connection.

        Drain: is not ended by it, unless inside `with conn.idle():`. Cancellation: loses nothing.
        """
        if self._buffer is not None and self._buffer.data:
            return self._receive_buffered(max_bytes, False)
        if self._idle_block is not None:
            return self._receive_request(max_bytes, False)
        return self.wire.receive_some(max_bytes)

    def __anext__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
    ) -> Coroutine[Any, Any, bytes]:  # as above, so the end of the iteration is the wire's to tell
        if self._buffer is not None and self._buffer.data:
            return self._receive_buffered(None, True)
        if self._idle_block is not None:
            return self._receive_request(None, True)
        return self.wire.receive_some(iterating=True)

    async def _receive_request(self, max_bytes: int | None, iterating: bool) -> bytes:
        data = await self.wire.receive_some(max_bytes, iterating=iterating)
        if data:
            self.note_first_bytes()
        return data

    async def _receive_buffered(self, max_bytes: int | None, iterating: bool) -> bytes:
        size = check_receive_size(max_bytes)
        await trio.lowlevel.checkpoint()
        if not self.buffer:  # another task was here
            return await self.wire.receive_some(max_bytes, iterating=iterating)
        return self.buffer.take(size)

    async def receive_exactly(self, size: int) -> bytes:
        """Wait for `size` bytes (0 or more) and return them.

        Raises: Incomplete if the stream ends before. Drain: not ended by it. Cancellation: loses nothing.
        """
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"size must be an int from 0 on, not {size!r}")
        if size < 0:
            raise ValueError(f"size must be from 0 on, not {size}")
        buffer = self.buffer
        if len(buffer) >= size:
            await trio.lowlevel.checkpoint()
        while len(buffer) < size:
            await self._receive_more(f"{size} bytes")
        return buffer.take(size)

    async def receive_until(self, delimiter: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
        """Wait until `delimiter` has come, and return all up to and including it.

        Raises: FrameTooLarge if that is more than `max_bytes`; Incomplete if the stream ends before. Drain:
        not ended by it.
        Cancellation: loses nothing.
        """
        delimiter, max_bytes = check_delimiter(delimiter), check_max_bytes(max_bytes)
        await trio.lowlevel.checkpoint()
        while True:
            taken = self.buffer.take_through(delimiter, max_bytes, "message")
            if taken is not None:
                return taken
            await self._receive_more(f"a message that ends with {delimiter!r}")

    async def _receive_more(self, what: str) -> None:
        data = await self.wire.receive_some()
        if not data:
            raise Incomplete(what, bytes(self.buffer.data))
        self.buffer.feed(data)
        self.note_first_bytes()

    async def wait_request(self) -> bool:
        """Wait for the first byte of the next request, and take nothing; for protocols that read by other
        means than `lines()` and `frames()`::

            while await conn.wait_request():
                head = await conn.receive_until(b"\\r\\n\\r\\n")
                ...

        A request that was in progress is over with the call. The wait is idle; with the first byte the next
        request begins, under `Timeouts.request`.

        Returns: True when it is there, False when none will come: at the end of the stream, after
        `Timeouts.idle`, or in a drain. Input that had come before is still told.

        Raises: trio.BrokenResourceError on a reset; trio.ClosedResourceError; trio.BusyResourceError.

        Always a checkpoint. Cancellation: loses nothing. Drain: ends the wait.
        """
        self.end_request()
        if self._buffer:
            await self.wire.take_turn()
        else:
            try:
                data = await self.wire.wait_request()
            except Interrupted:
                return False
            if data is not None:
                if not data:
                    return False
                self.buffer.feed(data)
        self.begin_request()
        return True

    async def wait_peer_gone(self) -> None:
        """Return when the peer has hung up: it has ended its stream, closed, or reset the connection. What it
        had sent before stays to be received. For handlers that wait for something else meanwhile::

            async def cancel_if_gone(conn, scope):
                await conn.wait_peer_gone()
                scope.cancel()

        A peer that has only ended its stream (`shutdown(SHUT_WR)`, `nc -N`) and still listens counts as gone:
        from this side the two look the same (tcp(7)). Under TLS it is the connection underneath that counts.
        A peer that vanishes without a word is noticed only by TCP keepalive, or by sending to it.

        May be waited for while another task receives or sends.

        Raises: trio.ClosedResourceError if this side closes; trio.BusyResourceError for a second waiting
        task; TypeError where it cannot be told (systems without EPOLLRDHUP, streams without a method
        `wait_peer_gone`).

        A checkpoint. Cancellation: cancels only the wait. Drain: does not end it.
        """
        await self.wire.wait_peer_gone()

    def set_timeouts(
        self,
        *,
        idle: float | None = None,
        request: float | None = None,
        send: float | None = None,
        close: float | None = None,
    ) -> None:
        """Give this connection timeouts of its own, for instance after a login or an upgrade. They hold at
        once, also for waits that go on; `conn.timeouts` is the result.

        Args: in seconds above 0 (`close` from 0 on), `math.inf` for no limit, None for no change; see
        `Timeouts`.

        Raises: TypeError, ValueError, which name the argument. Synchronous.
        """
        given = {"idle": idle, "request": request, "send": send, "close": close}
        changes = {name: value for name, value in given.items() if value is not None}
        self.change_timeouts(attrs.evolve(self.timeouts, **changes))

    def lines(self, *, max_bytes: int = DEFAULT_MAX_BYTES) -> AsyncIterator[bytes]:
        r"""Return an async iterator over the lines that the peer sends, each with its ``\n``; the last one
        may lack it.

        Each line is a request: the wait for its first byte is idle, and from there to the next turn of the
        loop it is work under `Timeouts.request`. A line that is in the buffer already is returned without a
        checkpoint, 16 times in a row at most.

        Raises, from the loop: FrameTooLarge for a line of more than `max_bytes`, its end included;
        trio.BrokenResourceError.

        End of stream: ends the loop. Drain: ends the loop when the next line has not begun; lines that had
        arrived are still given.
        Cancellation: loses nothing.
        """
        return Lines(self, check_max_bytes(max_bytes))

    def frames(self, framer: Framer) -> AsyncIterator[bytes]:
        """Return an async iterator over the payloads that `framer` finds: `LengthPrefixed`, `Netstrings`,
        `Delimited`, `FixedSize`.

        Like `lines()` in everything else, except that a stream that ends inside a frame raises Incomplete.
        """
        return Frames(self, check_framer(framer))

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
        it ends the connection.

        Drain: leaves the block alone until the grace is over. Neither entering nor leaving it is a
        checkpoint.
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
        self, context: ssl.SSLContext, *, server_side: bool = True, server_hostname: str | None = None
    ) -> TlsInfo:
        """Put TLS on this connection, for protocols that begin in the clear (STARTTLS).

        Returns: what was agreed on, also as `tls` from then on.

        Raises: HandshakeFailed, also if the peer sent more in the clear than was asked for: it could have
        been put there by somebody else, to be taken for a part of the encrypted stream (CVE-2011-0411).
        RuntimeError if TLS is on already. The connection can then only be closed. `Timeouts.handshake` bounds
        it. Cancellation: likewise only to be closed.
        """
        check_context(context, server_side=server_side)
        if self._tls is not None:
            raise RuntimeError("TLS is on already")
        if self._buffer:
            raise HandshakeFailed(
                f"the peer sent {len(self._buffer)} bytes in the clear after which TLS should begin"
            )
        if isinstance(self.wire, SocketWire):
            await self.wire.settle()
        entry = self.entry
        stage, entry.stage = entry.stage, "handshake"
        if stage != "handshake":  # the server's own one has begun with the accept
            entry.handshake_since = trio.current_time()
        try:
            self.wire = encrypted = encrypt(
                self.wire, context, server_side=server_side, server_hostname=server_hostname
            )
            await encrypted.handshake()
            self._tls = encrypted.info(server_hostname)
        finally:
            entry.stage = stage
        return self._tls

    async def read_proxy_header(self, policy: ProxyPolicy) -> None:
        """Read the header that a proxy puts before the peer's first byte; `peer` is whom it names from then
        on.

        `serve_*(proxy=…)` does it for every connection. Raises: ProxyHeaderError. Cancellation: the
        connection can only be closed.
        """
        self.proxy_header = await policy.admit(self.peer, self.wire.receive_some)
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


def make_wire(
    transport: Accepted, entry: Entry, pump: Pump | None = None, postman: Postman | None = None
) -> SocketWire | StreamWire:
    """Return the wire for a connected non-blocking socket (with `pump` and `postman`, if there are any) or a
    trio stream; TypeError or ValueError for anything else.
    """
    if isinstance(transport, socket.socket):
        if transport.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking: call setblocking(False) first")
        return SocketWire(transport, entry, pump, postman)
    if isinstance(transport, trio.abc.Stream):
        return StreamWire(transport, entry)
    raise TypeError(f"a connection is made of a socket or a trio stream, not {transport!r}")
