"""The session table of one server: existing sessions, new ones, and the datagrams that an ended one leaves.

The invariants, in addition to those of `queue.py`:

1. **One session per peer at a time**, from the datagram that opens it to the end of its task.
2. **No more than `Sessions.max` tasks run.** With `when_full="evict"` as many new ones may wait, each for the
   place of one that was asked to end.
3. **Unread datagrams open the next session**, as if they had come a moment later. If the session took none at
   all, its first one is dropped, since repeating it for ever would be a busy loop. In a drain no new session
   is opened, and the rest is dropped as "unread".
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import final

import trio

from ..model.errors import RequestTimedOut
from ..model.events import Cause, ConnectionOpened, HandlerStarted, LimitReached
from ..registry.rate_limits import rates_of
from ..registry.registry import Entry
from ..server.handler_run import Common, HandlerRun
from .idle_queue import IdleQueue
from .queue import Reason, ReceiveQueue
from .reply_path import Route, host_of, keys_for
from .session import QueuedDatagram, Session, Sessions
from .socket import DatagramSocket, Received
from .statistics import DatagramOwner


@final
class SessionTable:
    """Delivers each datagram to the session of its peer."""

    def __init__(
        self, common: Common, queue: ReceiveQueue, server: DatagramOwner, sessions: Sessions
    ) -> None:
        self._common = common
        self._queue = queue
        self._registry = common.registry
        self._server = server
        self._sessions = sessions
        self._present: dict[Hashable, Session] = {}
        self._idle_queue = IdleQueue(sessions.idle)
        #: How often sessions may begin; None for no limit.
        self._rates = rates_of(common.limits, "rate")
        self.nursery: trio.Nursery | None = None

    @property
    def waiting(self) -> int:
        """How many sessions wait for the place of one that was asked to end."""
        return self._registry.unslotted

    async def watch(self) -> None:
        """End the waits that are too long, until cancelled."""
        await self._idle_queue.watch()

    def deliver(self, received: Received, socket: DatagramSocket) -> None:
        """Deliver a datagram to its session, open one for it, or drop it. Synchronous: see the invariants of
        `queue.py`.
        """
        queue = self._queue
        queue.count(received.data, received.truncated)
        # Unix peers without a name cannot be told apart: they share one session.
        key = (socket, received.name, received.destination)
        session = self._present.get(key)
        route = session.wire if session is not None else self._route(received, socket)
        if received.truncated:
            queue.tell_truncated(route, len(received.data))
        keys = keys_for(self._registry, route) if session is None else ()
        reason = self._refusal(session, keys, route)
        if reason is not None:
            queue.refuse(reason, route)
            if session is not None:
                session.dropped += 1
            return
        newcomer = session is None
        if session is None:
            session = self._make(route, key, host_of(received))
        queued = QueuedDatagram(received.data, received.truncated, session)
        if not queue.admit(queued):
            session.dropped += 1
            return
        if self._is_full(session):
            queue.discard(session.buffer[0], "buffer")
        session.put(queued)
        if newcomer:
            self._open(session, keys)

    def _refusal(self, session: Session | None, keys: tuple[Hashable, ...], route: Route) -> Reason | None:
        """Return why a datagram of this session or of a new peer is dropped; None if it is accepted."""
        if self._queue.refusing == "closed":
            return "closed"
        if session is None:
            return self._no_place(keys, route)
        return "buffer" if self._is_full(session) and self._common.limits.drop == "newest" else None

    def _is_full(self, session: Session) -> bool:
        return len(session.buffer) >= self._sessions.buffer

    def _route(self, received: Received, socket: DatagramSocket) -> Route:
        entry = Entry(accepted=trio.current_time())
        return Route(socket, received.name, received.destination, entry, self._queue, self._common.timeouts)

    def _make(self, route: Route, key: Hashable, host: Hashable) -> Session:
        session = Session(route, route.entry, key, host, self._server, self._queue, self._idle_queue)
        route.entry.served = session
        return session

    @property
    def _has_place(self) -> bool:
        """Whether a new session can begin at once. A place that has just become free belongs to the first
        that waits, even if its task has not run yet: otherwise it would wait for another session that was not
        asked to end.
        """
        return self._registry.has_room and not self._registry.unslotted

    def _no_place(self, keys: tuple[Hashable, ...], route: Route) -> Reason | None:
        """Return why a new peer cannot be served, or None."""
        if self._queue.refusing is not None:
            return self._queue.refusing
        if keys and (limit := self._registry.refusal(keys)) is not None:
            return "peer" if limit == "peer" else "network"
        can_evict = self._sessions.when_full == "evict" and self._idle_queue.longest() is not None
        if not self._has_place and not can_evict:
            return "sessions"
        return self._too_often(route)

    def _too_often(self, route: Route) -> Reason | None:
        """Count one more session; or return the rate that refuses it."""
        rates = self._rates
        if rates is None:
            return None
        return rates.refusal(trio.current_time(), rates.keys_of(route.peer))

    def _open(self, session: Session, keys: tuple[Hashable, ...]) -> None:
        registry, entry, emitter = self._registry, session.entry, self._common.emitter
        begins = self._has_place
        if not begins:
            entry.stage = "queued"
            self._evict()
        self._present[session.key] = session
        registry.add(entry, slot=begins, keys=keys)
        if emitter.wants_openings:
            emitter.emit(ConnectionOpened, connection=entry.number, peer=session.peer, local=session.local)
        assert self.nursery is not None
        self.nursery.start_soon(_SessionTask(self._common, session, self).run)
        if not registry.has_room:
            emitter.emit(LimitReached, active=registry.active)

    def _evict(self) -> None:
        """End the session that has been idle for longest."""
        longest = self._idle_queue.longest()
        assert longest is not None
        longest.cause = longest.cause or Cause.OVERFLOW
        longest.interrupt(Cause.OVERFLOW)

    def part(self, session: Session, *, cancelled: bool) -> None:
        """Remove a session whose task has ended, and open the next one with the rest: invariant 3."""
        del self._present[session.key]
        left, queue = session.buffer, self._queue
        if left and not session.taken:
            queue.discard(left[0], "unread")
        if not left:
            return
        route = session.wire.renewed(Entry(accepted=trio.current_time()))
        following = self._make(route, session.key, session.host)
        keys = keys_for(self._registry, following.wire)
        reason: Reason | None = "unread" if cancelled or queue.refusing else self._no_place(keys, route)
        if reason is not None:
            while left:
                queue.discard(left[0], reason)
            return
        while left:
            queued = left.popleft()
            queued.session = following
            following.put(queued)
        self._open(following, keys)


@final
class _SessionTask(HandlerRun):
    """The task of one session."""

    __slots__ = ("_session", "_table")

    takes = "one session"

    def __init__(self, common: Common, session: Session, session_table: SessionTable) -> None:
        super().__init__(common, session, session.entry, common.handler)
        self._session = session
        self._table = session_table

    async def run(self) -> None:
        """The life of a session."""
        entry = self._entry
        entry.task = trio.lowlevel.current_task()
        try:
            with entry.scope:
                if entry.stage == "queued":
                    await self.wait_slot()
                if self._common.emitter.wants_handlers:
                    self.tell(HandlerStarted)
                await self.call_handler()
            if self._failed or entry.scope.cancelled_caught:
                await self.answer()
        except BaseException as error:
            self.note_passing(error)
            raise
        finally:
            self._unregister()

    def _unregister(self) -> None:
        """Unregister it; the rest of its buffer goes to the next session of this peer."""
        entry = self._entry
        if entry.cause is None and (entry.scope.cancelled_caught or isinstance(self._error, RequestTimedOut)):
            entry.cause = Cause.REQUEST
        self._session.end_request(entry.cause or Cause.FINISHED)
        self.unregister()
        self._session.end()
        self._table.part(self._session, cancelled=entry.cause is Cause.PARENT)
