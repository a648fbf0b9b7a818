"""Sessions: the datagrams of one peer, in order, for one task.

The rules:

1. **A session is a peer and the local address that it sends to**: its datagrams, in the order in which the
   kernel had them, go to one task, and to no other while that task runs.
2. **A wait in `async for` is idle**, and may be ended: by a drain, after `Sessions.idle` seconds (by
   `idle_queue.py`), or to make room for a new peer. The iteration then ends. A wait in `receive()` is in the
   middle of an exchange, and a drain does not end it.
3. **What had arrived is still given.** An iteration that is ended first gives the datagrams in its buffer,
   and none that arrive later.
4. **A session ends with its handler.** No datagram comes to it any more, so a task that still waits for one,
   or begins to, gets an error, and does not wait for ever. An iteration that was to end by rule 2 just ends.
"""

from __future__ import annotations

import collections
from collections.abc import Hashable
from typing import TYPE_CHECKING, Literal, final

import attrs
import trio

from ..model.addresses import Address
from ..model.checks import count, one_of, seconds
from ..model.emitter import Emitter
from ..model.events import Cause, RequestFinished, RequestStarted
from ..model.misuse import write
from ..registry.registry import NEVER, Entry
from ..transport.interface import BytesLike
from .idle_queue import IdleQueue
from .queue import ReceiveQueue
from .reply_path import Route
from .statistics import DatagramOwner

if TYPE_CHECKING:
    from typing import Self


@final
@attrs.frozen(kw_only=True)
class Sessions:
    """Serve peers, not datagrams: `serve_udp(handler, port, sessions=Sessions())`.

    `idle`
        Seconds without a datagram after which a waiting session ends. 120 s is Linux's
        nf_conntrack_udp_timeout_stream, and the least that RFC 4787, REQ-5, requires of an address
        translator: after that a datagram may not reach the peer any more.
    `max`
        Sessions at once, an int from 1 on or `math.inf`; `Limits.max_connections` bounds them too. 16,384, as
        there.
    `buffer`
        Datagrams that wait for one session, an int from 1 on or `math.inf`. The default is 64; trio's DTLS
        has 10, anyio's UDP sockets 100. Those of all sessions together are bounded by
        `Limits.max_pending_datagrams`. `Limits.drop` says which is dropped without room: the ``"newest"`` or
        the ``"oldest"``.
    `when_full`
        What happens to a datagram of a new peer when there are `max` sessions: ``"refuse"`` drops it,
        ``"evict"`` ends the session that has been idle for longest, and the new one waits for its place. If
        none is idle it is dropped as well.
    """

    idle: float = attrs.field(default=120.0, validator=seconds)
    max: float = attrs.field(default=16_384, validator=count)
    buffer: float = attrs.field(default=64, validator=count)
    when_full: Literal["refuse", "evict"] = attrs.field(default="refuse", validator=one_of("refuse", "evict"))


@final
class QueuedDatagram:
    """A datagram in the buffer of a session."""

    __slots__ = ("data", "session", "truncated")

    def __init__(self, data: bytes, truncated: bool, session: Session) -> None:
        self.data: bytes = data
        self.truncated: bool = truncated
        self.session: Session = session

    @property
    def host(self) -> Hashable:
        """The host that it counts for."""
        return self.session.host

    @property
    def peer(self) -> Address:
        """The peer of its session."""
        return self.session.peer

    def withdraw(self) -> None:
        """Leave the buffer: it was dropped."""
        self.session.lose(self)


@final
class Session:
    """A peer, as its handler sees it: an async iterator over its datagrams, and `send` for replies.

    Drain: ends a wait in `async for` at once, and nothing else until the grace period is over; then the
    handler is cancelled.
    """

    __slots__ = (
        "_busy",
        "_emitter",
        "_ended",
        "_idle_queue",
        "_interrupted",
        "_last_call",
        "_queue",
        "_request_timeout",
        "_wakeup",
        "buffer",
        "dropped",
        "entry",
        "host",
        "key",
        "server",
        "taken",
        "truncated",
        "wire",
    )

    #: How many datagrams of this peer were dropped for want of room.
    dropped: int
    #: How many the handler has taken.
    taken: int

    def __init__(
        self,
        wire: Route,
        entry: Entry,
        key: Hashable,
        host: Hashable,
        server: DatagramOwner,
        queue: ReceiveQueue,
        idle_queue: IdleQueue,
    ) -> None:
        self.wire: Route = wire
        self.entry: Entry = entry
        self.key: Hashable = key
        self.host: Hashable = host
        #: The server that serves it.
        self.server: DatagramOwner = server
        self._queue = queue
        self._idle_queue = idle_queue
        self._emitter: Emitter = server.observers
        self._request_timeout = server.timeouts.request
        #: Datagrams that wait for `receive` or the next iteration.
        self.buffer: collections.deque[QueuedDatagram] = collections.deque()
        self.dropped = self.taken = 0
        #: Whether the datagram that was taken last had been cut at `max_bytes`.
        self.truncated: bool = False
        self._wakeup: trio.Event | None = None
        self._busy = self._interrupted = self._ended = False
        self._last_call = 0

    def __repr__(self) -> str:
        return f"<triosock.Session {self.id} with {self.peer}>"

    @property
    def id(self) -> int:
        """Its number in its server, from 1 on."""
        return self.entry.number

    @property
    def peer(self) -> Address:
        """The address of the peer."""
        return self.wire.peer

    @property
    def local(self) -> Address:
        """The address that the peer sends to."""
        return self.wire.local

    @property
    def draining(self) -> bool:
        """Whether it is to end: by a drain, after `Sessions.idle`, or to make room for a new peer."""
        return self._interrupted

    # Receiving

    if not TYPE_CHECKING:  # see misuse.py
        __iter__ = write("async for data in session:")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Wait for the next datagram and return its bytes. An idle wait, which ends as rule 2 says.

        Raises: trio.BusyResourceError while another task receives; trio.ClosedResourceError in another task
        after the handler has returned, unless the iteration was to end: then it just ends.
        """
        self.end_request()
        await trio.lowlevel.checkpoint()
        while True:
            if self._interrupted and not self._last_call:
                raise StopAsyncIteration
            if self.buffer:
                return self._take()
            await self._wait(idle=True)

    async def receive(self) -> bytes:
        """Wait for the next datagram of this exchange and return its bytes. After `Sessions.idle` seconds the
        handler is cancelled.

        Raises: trio.BusyResourceError while another task receives; trio.ClosedResourceError in another task
        after the handler has returned. A checkpoint. Cancellation: nothing was taken. Drain: does not end it.
        """
        await trio.lowlevel.checkpoint()
        while not self.buffer:
            await self._wait(idle=False)
        return self._take()

    def _take(self) -> bytes:
        queued = self.buffer.popleft()
        self._last_call = max(0, self._last_call - 1)
        self._queue.begin(queued)
        self._queue.release(self.host)
        self.taken += 1
        self.truncated = queued.truncated
        self._begin_request()
        return queued.data

    async def _wait(self, *, idle: bool) -> None:
        if self._ended:
            raise trio.ClosedResourceError("this session has ended: its handler has returned")
        if self._busy:
            raise trio.BusyResourceError("another task is receiving from this session")
        entry, self._wakeup = self.entry, trio.Event()
        now = trio.current_time()
        if idle:
            entry.idle_since = now
        else:
            entry.receive_since = now
        self._busy = True
        self._idle_queue.join(self.entry)
        try:
            await self._wakeup.wait()
        finally:
            self._idle_queue.leave(self.entry)
            self._busy = False
            self._wakeup = None
            entry.idle_since = entry.receive_since = NEVER

    def put(self, queued: QueuedDatagram) -> None:
        """Take one more into the buffer."""
        self.buffer.append(queued)
        self.wire.received += len(queued.data)
        if self._wakeup is not None:
            self._wakeup.set()
            # It is not idle from this moment on, though its task has not run yet.
            self._idle_queue.leave(self.entry)

    def lose(self, queued: QueuedDatagram) -> None:
        """Remove a dropped datagram from the buffer. It is the oldest, so it is found at once."""
        self.buffer.remove(queued)
        self._last_call = max(0, self._last_call - 1)
        self.dropped += 1

    def end(self) -> None:
        """Note that its task has ended, and wake who still waits."""
        self._ended = True
        if self._wakeup is not None:
            self._wakeup.set()
            self._idle_queue.leave(self.entry)

    def interrupt_idle(self, cause: Cause) -> None:
        """End the iteration, after what is in the buffer."""
        if not self._interrupted:
            self._interrupted = True
            self._last_call = len(self.buffer)
        if self._wakeup is not None and self.entry.is_idle:
            self._wakeup.set()
            self._idle_queue.leave(self.entry)

    # Sending

    async def send(self, data: BytesLike) -> None:
        """Send one datagram to `peer`, from `local`, by any task, until the server has ended.

        Raises: TypeError if `data` is not bytes-like; ValueError if it is too long for one datagram;
        NoReturnAddress if the peer is a Unix socket without a name; trio.BrokenResourceError if the system
        knows that the peer cannot be reached or refuses to send; trio.ClosedResourceError after the end of
        the server.

        Waits only if the kernel has no room, for `Timeouts.send` at most: then the handler is cancelled, and
        another task that called this gets trio.TooSlowError. A checkpoint. Cancellation: nothing was sent.
        Drain: does not end it.
        """
        await self.wire.send(data)

    # State

    def _begin_request(self) -> None:
        entry = self.entry
        if entry.request_since == NEVER:
            entry.request_since = trio.current_time()
            if self._request_timeout < NEVER:
                entry.scope.deadline = entry.request_since + self._request_timeout
            if self._emitter.takers(RequestStarted):
                self._emitter.emit(RequestStarted, connection=entry.number, peer=self.peer)

    def end_request(self, cause: Cause = Cause.FINISHED) -> None:
        """Note that the work on one datagram is done; nothing happens if none is in progress."""
        entry = self.entry
        if entry.request_since == NEVER:
            return
        if self._emitter.takers(RequestFinished):
            duration = trio.current_time() - entry.request_since
            self._emitter.emit(
                RequestFinished, connection=entry.number, peer=self.peer, duration=duration, cause=cause
            )
        entry.request_since = NEVER
        if self._request_timeout < NEVER:
            entry.scope.deadline = NEVER
