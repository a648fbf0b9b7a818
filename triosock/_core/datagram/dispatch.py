"""One task per datagram: `Datagram`, and the dispatch to its handler.

    received → counted → (queue) → slot → task → handler → place and slot given back → next of the queue

The invariants, in addition to those of `queue.py`:

1. **A waiting datagram is in the registry**, so that a drain waits for it too: with a slot if its task is
   about to start, without one (`queued`) in the queue. The queue holds datagrams only if every slot is taken.
2. **A dropped datagram is never handled**, even if its task was started already.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import final

import attrs
import trio

from ..model.addresses import Address
from ..model.errors import RequestTimedOut
from ..model.events import Cause, RequestFinished, RequestStarted
from ..registry.registry import NEVER, Entry
from ..server.handler_run import Common, HandlerRun
from ..transport.interface import BytesLike
from .queue import Reason, ReceiveQueue
from .reply_path import Route, host_of, keys_for
from .socket import DatagramSocket, Received
from .statistics import DatagramOwner


@final
class Datagram:
    """A datagram, as its handler sees it.

    `data` is its bytes; `truncated` is True if it was longer than `max_bytes`, and was cut there.
    """

    __slots__ = ("_entry", "data", "server", "truncated", "wire")

    def __init__(
        self, data: bytes, truncated: bool, wire: Route, entry: Entry, server: DatagramOwner
    ) -> None:
        self.data: bytes = data
        self.truncated: bool = truncated
        self.wire: Route = wire
        self._entry = entry
        #: The server that received it.
        self.server: DatagramOwner = server

    def __repr__(self) -> str:
        return f"<triosock.Datagram {self.id} of {len(self.data)} bytes from {self.peer}>"

    @property
    def id(self) -> int:
        """Its number in its server, from 1 on."""
        return self._entry.number

    @property
    def peer(self) -> Address:
        """The sender's address; ``UnixAddress("")`` for a Unix socket without a name."""
        return self.wire.peer

    @property
    def local(self) -> Address:
        """The address that it was sent to, also on a socket that is bound to all addresses."""
        return self.wire.local

    @property
    def draining(self) -> bool:
        """Whether the server is draining."""
        return self.server.draining

    async def reply(self, data: BytesLike) -> None:
        """Send one datagram to `peer`, from `local`. May be called any number of times, by any task, until
        the server has ended.

        Raises: TypeError if `data` is not bytes-like; ValueError if it is longer than a datagram can be
        (65,507 bytes over IPv4, 65,527 over IPv6; what the system allows on Unix sockets); NoReturnAddress if
        the peer is a Unix socket without a name; trio.BrokenResourceError if the system knows that the peer
        cannot be reached (a closed UDP port is not known when sending) or refuses to send;
        trio.ClosedResourceError after the end of the server.

        Waits only if the kernel has no room, for `Timeouts.send` at most: then the handler is cancelled, and
        another task that called this gets trio.TooSlowError. A checkpoint. Cancellation: nothing was sent.
        Drain: does not end it.
        """
        await self.wire.send(data)

    def interrupt_idle(self, cause: Cause) -> None:
        """Do nothing: the handler of one datagram is never idle. Called by a drain."""


@final
@attrs.define(eq=False, slots=True)
class DatagramEntry(Entry):
    """A datagram that waits or is handled. Cut before its turn, it is dropped."""

    dispatch: DatagramDispatch = attrs.field(kw_only=True)
    host: Hashable = None

    def cut(self, cause: Cause) -> None:
        """Cancel its handler, or drop it if that has not begun."""
        if not self.dispatch.drop_if_waiting(self, "drain"):
            Entry.cut(self, cause)

    def withdraw(self) -> None:
        """Leave the queue and the registry: it was dropped."""
        self.dispatch.forget(self)


@final
class DatagramDispatch:
    """Handles each datagram in a task of its own."""

    def __init__(self, common: Common, queue: ReceiveQueue, server: DatagramOwner) -> None:
        self._common = common
        self._queue = queue
        self._registry = common.registry
        self._server = server
        self._waiting: dict[DatagramEntry, None] = {}
        self.nursery: trio.Nursery | None = None

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._waiting)

    async def watch(self) -> None:
        """Nothing to watch: the deadline of a handler is that of its scope."""
        await trio.sleep_forever()

    def deliver(self, received: Received, socket: DatagramSocket) -> None:
        """Accept a datagram, or drop it. Synchronous: see the invariants of `queue.py`."""
        queue, registry = self._queue, self._registry
        entry = DatagramEntry(accepted=trio.current_time(), dispatch=self, host=host_of(received))
        route = Route(socket, received.name, received.destination, entry, queue, self._common.timeouts)
        route.received = len(received.data)
        entry.served = Datagram(received.data, received.truncated, route, entry, self._server)
        queue.count(received.data, received.truncated)
        if received.truncated:
            queue.tell_truncated(route, len(received.data))
        reason: Reason | None = queue.refusing
        keys: tuple[Hashable, ...] = ()
        if reason is None:
            keys = keys_for(registry, route)
            reason = registry.refusal(keys) if keys else None
        if reason is not None:
            queue.refuse(reason, route)
        if reason is not None or not queue.admit(entry):
            entry.served = None
            return
        registry.add(entry, slot=registry.has_room, keys=keys)
        if entry.holds_slot:
            self._start(entry)
        else:
            entry.stage = "queued"
            self._waiting[entry] = None

    def _start(self, entry: DatagramEntry) -> None:
        assert self.nursery is not None
        self.nursery.start_soon(_DatagramTask(self._common, entry, self._queue, self).run)

    def leave(self, entry: DatagramEntry) -> None:
        """Remove an entry from the registry, and start the next of the queue."""
        registry = self._registry
        registry.remove(entry)
        while self._waiting and registry.has_room:
            following = next(iter(self._waiting))
            del self._waiting[following]
            registry.grant(following)
            following.stage = "serving"
            self._start(following)

    def forget(self, entry: DatagramEntry) -> None:
        """Remove a dropped datagram from the queue and the registry."""
        self._waiting.pop(entry, None)
        self.leave(entry)
        entry.served = None

    def drop_if_waiting(self, entry: DatagramEntry, reason: Reason) -> bool:
        """Drop a datagram whose handler has not begun; return whether it was dropped."""
        if not self._queue.is_waiting(entry):
            return False
        self._queue.discard(entry, reason)
        return True


@final
class _DatagramTask(HandlerRun):
    """The task of one datagram."""

    __slots__ = ("_dispatch", "_queue")

    takes = "one datagram"

    _entry: DatagramEntry  # said again for type checkers

    def __init__(
        self, common: Common, entry: DatagramEntry, queue: ReceiveQueue, dispatch: DatagramDispatch
    ) -> None:
        assert entry.served is not None
        super().__init__(common, entry.served, entry, common.handler)
        self._queue = queue
        self._dispatch = dispatch

    async def run(self) -> None:
        """The life of a datagram that has its slot."""
        entry = self._entry
        entry.task = trio.lowlevel.current_task()
        try:
            with entry.scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                if not entry.gone:  # dropped between the start of this task and now
                    self._begin()
                    await self.call_handler()
            if self._failed or entry.scope.cancelled_caught:
                await self.answer()
        except BaseException as error:
            self.note_passing(error)
            raise
        finally:
            self._unregister()

    def _begin(self) -> None:
        """Count it as handled, and set its deadline."""
        self._queue.begin(self._entry)
        now = trio.current_time()
        self._entry.request_since = now
        if self._common.timeouts.request < NEVER:  # setting it is not free, and most have none
            self._entry.scope.deadline = now + self._common.timeouts.request
        if self._common.emitter.takers(RequestStarted):
            self.tell(RequestStarted)

    def _unregister(self) -> None:
        """Unregister it, and start the next of the queue."""
        entry, common = self._entry, self._common
        entry.task = None
        if entry.gone or self._dispatch.drop_if_waiting(entry, "closed"):
            return
        if entry.scope.cancelled_caught or isinstance(self._error, RequestTimedOut):
            entry.cause = entry.cause or Cause.REQUEST
        cause = entry.cause = entry.cause or Cause.FINISHED
        common.registry.tally.ended[cause] += 1
        self._queue.release(entry.host)
        self._dispatch.leave(entry)
        if common.emitter.takers(RequestFinished):
            self.tell(RequestFinished, duration=trio.current_time() - entry.request_since, cause=cause)
        self._break_cycles()
