"""Who is being served by a compat server, kept by the threads that serve, for the trio task that may have to
act.

Rules of this file:

1. **A request costs no hop to another thread.** Its thread writes a plain record under a lock when the
   handler begins, and takes it off when it has ended. Nobody is told.
2. When somebody wants to act (a drain, a deadline, observers), the book is *supervised*: its records become
   entries of the core's `Roster`, with the clock of the trio run that supervises, and those that come later
   are entries from their start.
3. **Nobody is counted out too early**: a request that waits for its thread to start is `expected`; and one
   whose handler has returned is sealed, under the lock, before its thread goes on: no cut can reach what the
   thread does next.
4. A book belongs to one process. After a fork the child finds the parent's and begins a new one.
5. Nothing here holds a request longer than its handler runs.
"""

from __future__ import annotations

import math
import os
import threading
from collections import Counter
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from triosock._core.events import Cause, ConnectionClosed, ConnectionOpened, Emitter, HandlerFailed, watchers
from triosock._core.limits import Limits
from triosock._core.roster import Roster, Tally

from . import interrupt, oversee
from .entries import Request
from .naming import address_of, cause_of, local_of
from .telling import Life

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import BaseServer
    from .host import Host
    from .policy import Drain, Policy
    from .serving import CompatServer

_SLOT = "_BaseServer__triosock"

#: What stands in for a scope in an entry that is no task.
_NO_SCOPE = trio.CancelScope()


#: A record is a list, which is made in a fraction of the time of an object: the request, the client's
#: address, since when (in `time.perf_counter()`), its entry once somebody asked, and the record of the
#: request that the same thread handles around this one.
Record: TypeAlias = "list[Any]"
REQUEST, ADDRESS, SINCE, ENTRY, AROUND = range(5)


#: Whose request a thread handles, by thread.
_books: dict[int, Book] = {}


class Book:
    """The records of one server in one process."""

    def __init__(self, name: str, policy: Policy | None, *, watched: bool = False) -> None:
        self.pid: int = os.getpid()
        self.lock: threading.Lock = threading.Lock()
        self.name = name
        self.policy = policy
        self.roster: Roster = Roster(Limits())
        self.live: dict[int, Record] = {}
        #: Not yet in the roster's tally: how many have left, why the failed ones did, and how many were here
        #: at once.
        self.left: int = 0
        self.failed: Counter[Cause] = Counter()
        self.peak: int = 0
        self.expected: dict[int, None] = {}
        self.host: Host | None = None
        self.emitter: Emitter | None = None
        #: What to call in the trio thread whenever somebody has left, and for who comes in a drain.
        self.on_leave: Callable[[], None] | None = None
        self.on_newcomer: Callable[[Request], None] | None = None
        #: What serves it in a trio program.
        self.served: CompatServer | None = None
        #: The drain that is going on.
        self.drain: Drain | None = None
        #: Ends the waits of the loops that serve, from any thread.
        self.wakers: list[Callable[[], None]] = []
        self.max_requests: float = math.inf if policy is None else policy.max_requests
        #: What `time.perf_counter()` is behind the supervisor's clock.
        self._clock = 0.0
        self._holding = threading.Lock()
        self._holds = 0
        self._oversight: oversee.Oversight | None = None
        asked = () if policy is None else policy.observers
        self._needs_oversight = policy is not None and policy.needs_oversight
        #: Whether somebody looks after the requests while they run, for the policy or for a timeline.
        self.is_overseen: bool = self._needs_oversight or watched
        if asked or watched:
            self.emitter = Emitter(name, trio.current_time, asked)
        self.life: Life = Life(self)

    # In the threads that serve

    def enter(self, request: Any, client_address: Any) -> Record:
        """Note that the calling thread begins to handle this request; the result goes to `leave()`."""
        thread, live = get_ident(), self.live
        record = [request, client_address, perf_counter(), None, live.get(thread)]
        if self.is_overseen:
            self.hold()
        # Set before the host is looked at; who supervises sets the host before looking here: one of them
        # sees.
        live[thread] = record
        _books[thread] = self
        if len(live) > self.peak:
            self.peak = len(live)
        if self.host is not None:
            with self.lock:
                self._promote(thread, record)
            self._tell_opened(record[ENTRY])
        return record

    def leave(self, record: Record, error: BaseException | None = None) -> None:
        """Note that the handler which the calling thread entered with `record` has ended, by `error` if it
        raised.
        """
        thread, live = get_ident(), self.live
        if live.get(thread) is record:
            if record[AROUND] is None:
                del live[thread]
                _books.pop(thread, None)
            else:
                live[thread] = record[AROUND]
        with self.lock:
            entry: Request | None = record[ENTRY]
            if entry is None:
                self.left += 1
                if error is not None:
                    self.failed[cause_of(error)] += 1
        if entry is not None:
            self._leave_entry(entry, thread, error)
        if self.on_leave is not None or self.policy is not None:
            self.poke()
        if self.is_overseen:
            self.release()

    def _leave_entry(self, entry: Request, thread: int, error: BaseException | None) -> None:
        with self.lock:
            entry.sealed = True
            if entry.was_cut:
                interrupt.uncut(thread)
            self.roster.remove(entry)
            cause = entry.cause or cause_of(error)
            if not entry.reported:
                entry.reported = True
                self.roster.tally.ended[cause] += 1
        self._tell_closed(entry, cause, error)

    def own_entry(self) -> Request | None:
        """Return the entry of the request that the calling thread handles."""
        thread = get_ident()
        record = self.live.get(thread)
        if record is None:
            return None
        with self.lock:
            return self._promote(thread, record)

    def tally(self) -> Tally:
        """Return what was counted up to now."""
        with self.lock:
            tally = self.roster.tally
            tally.ended.update(self.failed)
            if finished := self.left - self.failed.total():
                tally.ended[Cause.FINISHED] += finished
            tally.accepted += self.left
            tally.peak = max(tally.peak, self.peak)
            self.left = 0
            self.failed.clear()
            return tally

    def expect(self, request: Any) -> None:
        """Note that a thread is about to be started for this request."""
        self.expected[id(request)] = None

    def arrived(self, request: Any) -> None:
        """Take back `expect()`: the request is over."""
        if self.expected.pop(id(request), self) is None:
            self.poke()
            if self.is_overseen:
                self.life.look()

    def poke(self) -> None:
        """Have whoever waits for an end look again."""
        on_leave, host = self.on_leave, self.host
        if on_leave is not None and host is not None:
            host.soon(on_leave)
        if self.max_requests != math.inf:
            for wake in tuple(self.wakers):
                wake()

    def hold(self) -> None:
        """Have the policy's deadlines and observers minded until `release()`. Raises RuntimeError if nobody
        can; a timeline that happens to be around is no reason for that.
        """
        if not self.is_overseen:
            return
        with self._holding:
            if not self._holds:
                timeout = math.inf if self.policy is None else self.policy.request_timeout
                try:
                    self._oversight = oversee.begin(self, timeout)
                except RuntimeError:
                    if self._needs_oversight:
                        raise
            self._holds += 1

    def release(self) -> None:
        """Take back one `hold()`."""
        if not self.is_overseen:
            return
        with self._holding:
            if self._holds == 1:
                self.life.look_held()
            self._holds -= 1
            if not self._holds and self._oversight is not None:
                oversight, self._oversight = self._oversight, None
                oversight.end()

    @property
    def clock(self) -> float:
        """What `time.perf_counter()` is behind the clock of the trio run that supervises, or did last."""
        return self._clock

    @property
    def lifetime(self) -> float | None:
        """Seconds from the accept of a request to its end, by the policy; None for no end."""
        timeout = math.inf if self.policy is None else self.policy.request_timeout
        return None if timeout == math.inf else timeout

    @property
    def is_full(self) -> bool:
        """Whether `Policy.max_requests` are being served."""
        # Who is expected stays so while being handled, if threads are the stock ones; then that is everybody.
        return max(len(self.live), len(self.expected)) >= self.max_requests

    @property
    def is_empty(self) -> bool:
        """Whether nobody is being served."""
        return not self.live and not self.expected

    # In the trio thread that supervises

    def supervise(self, host: Host) -> None:
        """Make entries of the records, in the time of the calling trio run, and of all that come later."""
        self.tally()
        with self.lock:
            clock = trio.current_time() - perf_counter()
            for entry in self.roster.entries():
                entry.accepted += clock - self._clock
            self._clock = clock
            self.host = host
            for thread, record in tuple(self.live.items()):
                self._promote(thread, record)

    def unsupervise(self, host: Host) -> None:
        """End `supervise()` in this host; entries stay what they are."""
        with self.lock:
            if self.host is host:
                self.host = None

    def _promote(self, thread: int, record: Record) -> Request:
        """Make the entry of a record, or return the one that it has. Under the lock."""
        entry: Request | None = record[ENTRY]
        if entry is not None:
            return entry
        entry = Request(
            accepted=record[SINCE] + self._clock,
            scope=_NO_SCOPE,
            request=record[REQUEST],
            address=address_of(record[REQUEST], record[ADDRESS]),
            thread=thread,
            book=self,
        )
        on_newcomer, host = self.on_newcomer, self.host
        if on_newcomer is not None and host is not None:
            entry.newcomer = True
            host.soon(on_newcomer, entry)
        self.roster.add(entry)
        record[ENTRY] = entry
        if self.live.get(thread) is not record:
            # Its thread left without the lock, before the entry was there to be seen.
            entry.sealed = True
            self.roster.remove(entry)
            self.roster.tally.accepted -= 1
        return entry

    # Events

    def tell(self, kind: type[Any], **fields: Any) -> None:
        """Have an event made in the trio thread, if somebody wants it."""
        emitter, host = self.emitter, self.host
        if emitter is not None and host is not None and emitter.takers(kind):
            host.soon(lambda: emitter.emit(kind, **fields))

    def _tell_opened(self, entry: Request) -> None:
        if self.emitter is not None and self.emitter.takers(ConnectionOpened):
            local = local_of(entry.request)
            self.tell(ConnectionOpened, connection=entry.number, peer=entry.peer, local=local)

    def _tell_closed(self, entry: Request, cause: Cause, error: BaseException | None) -> None:
        if self.emitter is None:
            return
        who = {"connection": entry.number, "peer": entry.peer}
        if cause is Cause.FAILED and error is not None:
            self.tell(HandlerFailed, error=error, **who)
        if self.emitter.takers(ConnectionClosed):
            received, sent = interrupt.count_bytes(entry.request)
            with self.lock:
                self.roster.tally.received += received
                self.roster.tally.sent += sent
            duration = perf_counter() + self._clock - entry.accepted
            self.tell(
                ConnectionClosed,
                cause=cause, received=received, sent=sent, duration=duration, error=error, **who,
            )  # fmt: skip


def book_of(server: BaseServer) -> Book:
    """Return the server's book in this process; it is made when it is first asked for."""
    attributes = vars(server)
    book: Book | None = attributes.get(_SLOT)
    if book is None or book.pid != os.getpid():
        # Not where it forks: a recording is not worth a thread beside a fork, and children could not add to
        # it.
        watched = bool(watchers) and not hasattr(server, "active_children")
        fresh = Book(type(server).__name__, getattr(server, "trio_policy", None), watched=watched)
        if book is None:
            # Two threads may be here at once; they must agree.
            return attributes.setdefault(_SLOT, fresh)  # type: ignore[no-any-return]
        attributes[_SLOT] = fresh
        return fresh
    return book


def closes(server: BaseServer) -> None:
    """Have the observers of a server told that its listener is closed, if it has any in this process."""
    book: Book | None = vars(server).get(_SLOT)
    if book is not None and book.is_overseen and book.pid == os.getpid():
        book.life.closes()


def leave(book: Book, record: Record, error: BaseException | None = None) -> None:
    """Do `book.leave()` whatever happens."""
    try:
        book.leave(record, error)
    except interrupt.RequestCut:
        # The cut came before the seal. There is only one in the life of a request, so this time it goes
        # through.
        book.leave(record, error)
        raise


def book_of_thread() -> Book | None:
    """Return the book of the server whose request the calling thread handles, or None."""
    book = _books.get(threading.get_ident())
    return book if book is not None and book.pid == os.getpid() else None
