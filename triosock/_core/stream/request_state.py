"""Whether a connection is idle or in a request. Drains, timeouts and observers read what is noted here.

The invariant: **a connection is idle if no request has begun and the handler waits for one**: the buffer is
empty, and the wait is that of `lines()`, `frames()`, `wait_request()` or `with conn.idle():`. A drain ends
idle waits only. A request begins with its first byte and goes on until the grace period is over. Input that
had arrived before the drain is a request too, even if it has not been read yet.

Related files: `registry/registry.py` has the condition (`Entry.is_idle`), `messages.py` marks the waits of
`lines()` and `frames()`, `transport/socket_receive.py` ends the idle wait of a socket, and
`registry/drain_run.py` asks for it.
"""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType
from typing import TYPE_CHECKING, Literal, final

import trio

from ..listeners.listener import PeerName
from ..model.addresses import Address, MemoryAddress, TcpAddress, UdpAddress, UnixAddress, from_sockaddr
from ..model.checks import check_seconds
from ..model.config import Timeouts
from ..model.emitter import Emitter
from ..model.errors import RequestTimedOut
from ..model.events import Cause, RequestFinished, RequestStarted
from ..model.misuse import write
from ..protocols.framing import Buffer
from ..registry.registry import NEVER, Entry
from ..server.base_server import Server
from ..server.statistics import ServerStatistics
from ..transport.interface import Interrupted
from ..transport.socket import SocketWire
from ..transport.stream_adapter import StreamWire
from ..transport.wires import socket_under
from .request_rates import RequestMeter

if TYPE_CHECKING:
    from typing import Self

    from ..protocols.proxy_parser import ProxyHeader
    from ..transport.tls import TlsInfo


class RequestState:
    """The state that a connection, its iterators and its blocks share. Users see `Connection`."""

    __slots__ = (
        "_buffer", "_idle_block", "_local", "_peer", "_tls", "emitter", "entry", "meter", "proxy_header",
        "request_scope", "server", "timeouts", "wire",
    )  # fmt: skip

    def __init__(
        self,
        wire: SocketWire | StreamWire,
        entry: Entry,
        timeouts: Timeouts,
        emitter: Emitter | None,
        peer: PeerName,
        local: PeerName,
        server: Server[ServerStatistics] | None,
    ) -> None:
        self.wire: SocketWire | StreamWire = wire
        self.entry: Entry = entry
        self.timeouts: Timeouts = timeouts
        self.emitter: Emitter | None = emitter
        #: Made when it is first needed: a handler that only passes bytes on needs none.
        self._buffer: Buffer | None = None
        self._peer = peer
        self._local = local
        self._idle_block: IdleBlock | None = None
        #: The scope of the innermost `request()` block; a tree shows its deadline.
        self.request_scope: trio.CancelScope | None = None
        self._tls: TlsInfo | None = None
        #: Keeps the connection to the rates of requests; None without such a rate.
        self.meter: RequestMeter | None = None
        #: The server that made this connection, a `StreamServer`; None if none did.
        self.server: Server[ServerStatistics] | None = server
        #: What the PROXY protocol header said, if there was one.
        self.proxy_header: ProxyHeader | None = None
        entry.served = self

    # Addresses

    @property
    def peer(self) -> Address:
        """The address of the other side; the one that a PROXY header names, if there was one."""
        if not isinstance(self._peer, _VALUES):
            if self._peer is None:
                self._peer = self._ask("getpeername")
            self._peer = self._as_address(self._peer)
        return self._peer

    @property
    def local(self) -> Address:
        """The address that the peer connected to."""
        if not isinstance(self._local, _VALUES):
            if self._local is None:
                self._local = self._ask("getsockname")
            self._local = self._as_address(self._local)
        return self._local

    def _ask(self, question: Literal["getpeername", "getsockname"]) -> PeerName:
        sock = socket_under(self.wire.transport)
        if sock is not None:
            with contextlib.suppress(OSError):  # closed, or the peer is gone
                name: PeerName = getattr(sock, question)()
                return name
        return None

    def _as_address(self, name: PeerName) -> Address:
        transport = self.wire.transport
        sock = socket_under(transport)
        if sock is not None and (family := sock.family) in _FAMILIES:
            # A socket that is closed, or was adopted after its peer had gone, has no name: an empty one
            # stands for it.
            return from_sockaddr(family, socket.SOCK_STREAM, name) if name else UnixAddress("")
        return MemoryAddress(type(transport).__name__)

    # State

    @property
    def buffer(self) -> Buffer:
        """What was received and not returned yet."""
        if self._buffer is None:
            self._buffer = Buffer()
        return self._buffer

    def begin_request(self) -> None:
        """Note that a request has begun: its first byte has arrived."""
        entry = self.entry
        now = entry.now()
        entry.request_since = now
        entry.request_due = now + self.timeouts.request
        if entry.spared_until:
            # This was the one request that the drain has waited for; the next idle wait ends at once.
            entry.spared_until = 0.0
            self.wire.interrupt()
        if entry.requests_left:
            entry.requests_left -= 1
            if not entry.requests_left:
                self.wire.interrupt()
        emitter = self.emitter
        if emitter is not None and emitter.wants_requests:
            emitter.emit(RequestStarted, connection=entry.number, peer=self.peer)

    def end_request(self, cause: Cause = Cause.FINISHED) -> None:
        """Note that the request is over; nothing happens if no request is in progress."""
        entry = self.entry
        if entry.request_since == NEVER:
            return
        if entry.gradient is not None:
            entry.gradient.note(entry.request_since, entry.now())
            entry.has_told = True
        emitter = self.emitter
        if emitter is not None and emitter.wants_requests:
            duration = entry.now() - entry.request_since
            emitter.emit(
                RequestFinished, connection=entry.number, peer=self.peer, duration=duration, cause=cause
            )
        entry.request_since = entry.request_due = NEVER
        if self.meter is not None:
            self.meter.has_token = False

    async def _next_request(self) -> bool:
        """Implements `Connection.wait_request`; `lines()` and `frames()` call it if there is a rate of
        requests.
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
        if self.meter is not None:
            await self.meter.wait_due(self)
        return True

    def note_first_bytes(self) -> None:
        """Begin the request of an `idle()` block: its first bytes have arrived."""
        if self._idle_block is not None and self.entry.request_since == NEVER:
            self.begin_request()

    def change_timeouts(self, timeouts: Timeouts) -> None:
        """Use these timeouts from now on, also in the waits that have begun."""
        entry = self.entry
        if entry.request_due != NEVER or (entry.request_since != NEVER and self.request_scope is None):
            entry.request_due = entry.request_since + timeouts.request
        self.timeouts = entry.timeouts = timeouts
        if self.server is not None:
            self.server.note_timeouts(entry)

    def interrupt_idle(self, cause: Cause) -> None:
        """End the current idle wait and later ones, as at the end of the stream. After `Timeouts.idle` (cause
        IDLE) later ones end only until the peer sends something.
        """
        if cause is Cause.IDLE:
            self.wire.expire()
        else:
            self.wire.interrupt()
        if self._idle_block is not None:
            self._idle_block.interrupt(cause)


_VALUES = (TcpAddress, UdpAddress, UnixAddress, MemoryAddress)
#: The families that have an `Address`; what trio accepts of another one, such as AF_VSOCK, is served without.
_FAMILIES = (socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", None))


@final
class IdleBlock:
    """`with conn.idle() as wait:` marks a wait for the next request. A drain, or `Timeouts.idle`, ends the
    block early.

    `wait.interrupted` says afterwards whether it was ended early. Variables that the block assigns need a
    value before it, since a block that is ended early may assign nothing.
    """

    __slots__ = ("_scope", "_state", "interrupted")

    if not TYPE_CHECKING:  # see misuse.py
        __aenter__ = write("with conn.idle():")
        __aexit__ = write("with conn.idle():")

    def __init__(self, state: RequestState) -> None:
        self._state = state
        self._scope = trio.CancelScope()
        self.interrupted: bool = False

    def __enter__(self) -> Self:
        state = self._state
        if state._idle_block is not None:
            raise RuntimeError("this connection is in an idle() block already")
        self._scope.__enter__()
        state.end_request()
        state.entry.idle_since = trio.current_time()
        state._idle_block = self
        if state._buffer:
            state.begin_request()  # its first bytes are in the buffer
        if state.wire.is_over and not self._has_input():
            self._scope.cancel(reason="triosock: the idle wait is over")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        state = self._state
        state._idle_block = None
        state.entry.idle_since = NEVER
        swallowed = bool(self._scope.__exit__(kind, error, trace))
        self.interrupted = self._scope.cancelled_caught
        if self.interrupted:
            state.wire.note_wait_end(idle=True)
        if kind is None and not self.interrupted and state.entry.request_since == NEVER:
            state.begin_request()
        return swallowed

    def interrupt(self, cause: Cause) -> None:
        """End the block, unless its request has arrived or begun."""
        entry = self._state.entry
        if entry.is_idle and not (entry.receive_since != NEVER and self._has_input()):
            self._scope.cancel(reason=f"triosock: {cause}")

    def _has_input(self) -> bool:
        return bool(self._state._buffer or self._state.wire.has_input())


@final
class RequestBlock:
    """`async with conn.request():` marks work on one request, with a deadline of its own.

    Neither entering nor leaving it is a checkpoint, unless a rate of requests makes it wait.
    """

    __slots__ = ("_around", "_scope", "_seconds", "_state")

    if not TYPE_CHECKING:  # see misuse.py
        __enter__ = write("async with conn.request():")
        __exit__ = write("async with conn.request():")

    def __init__(self, state: RequestState, timeout: float | None) -> None:
        limit = state.timeouts.request
        self._seconds = limit if timeout is None else min(check_seconds(timeout, "timeout"), limit)
        self._state = state
        self._scope = trio.CancelScope()
        self._around: trio.CancelScope | None = None

    async def __aenter__(self) -> trio.CancelScope:
        state, entry = self._state, self._state.entry
        begins_here = entry.request_since == NEVER
        if begins_here:
            state.begin_request()
        if state.meter is not None:
            await self._wait_turn(state.meter, begins_here)
        # The time of a request counts from its first byte, if that is known. From here on this scope has the
        # deadline, and the timeout monitor does not.
        self._scope.deadline = min(trio.current_time() + self._seconds, entry.request_due)
        entry.request_due = NEVER
        self._around, state.request_scope = state.request_scope, self._scope
        self._scope.__enter__()
        return self._scope

    async def _wait_turn(self, meter: RequestMeter, begins_here: bool) -> None:
        """Wait until a rate allows the request. One that is refused, and that began here, is over."""
        state = self._state
        try:
            await meter.wait_due(state)
        except BaseException:
            if begins_here:
                state.end_request(state.entry.cause or Cause.PEER)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        state = self._state
        state.request_scope = self._around
        swallowed = bool(self._scope.__exit__(kind, error, trace))
        is_whole = self._around is None  # a block in another is a part of its request
        if self._scope.cancelled_caught:
            if is_whole:
                state.end_request(Cause.REQUEST)
            raise RequestTimedOut(f"a request of {state.peer} was not done in {self._seconds:g} s")._of(
                state
            ) from None
        if is_whole:
            cause = Cause.FINISHED if kind is None else state.entry.cause or Cause.FAILED
            state.end_request(cause)
        return swallowed
