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
import time
from typing import TYPE_CHECKING, Any

import attrs
import trio

from triosock._core.events import Cause, ConnectionClosed, ConnectionOpened, Emitter, HandlerFailed
from triosock._core.limits import Limits
from triosock._core.roster import Entry, Roster

from . import interrupt, oversee
from .naming import address_of, cause_of, local_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from triosock._core.address import Address
    from triosock._core.roster import Phase

    from .base import BaseServer
    from .host import Host
    from .policy import Drain, Policy
    from .serving import CompatServer

_SLOT = "_BaseServer__triosock"

#: What stands in for a scope in an entry that is no task.
_NO_SCOPE = trio.CancelScope()


@attrs.define(eq=False, slots=False)
class Plain:
    """A request that nobody has asked about: who it is, and since when (in `time.perf_counter()`)."""

    request: Any
    client_address: Any
    since: float


@attrs.define(eq=False, slots=True, kw_only=True)
class Request(Entry):
    """A request of a compat server in the core's roster."""

    request: Any
    address: Address
    thread: int
    book: Book
    sealed: bool = False
    was_cut: bool = False
    #: Stuck beyond the end of a drain, and counted in its report already.
    reported: bool = False
    #: The async call that its handler is in (`compat.run`): ended by its scope, and not by an exception.
    call: Callable[[], None] | None = None

    @property
    def peer(self) -> Address:
        """Where it comes from."""
        return self.address

    @property
    def is_idle(self) -> bool:
        """Whether its peer owes nothing."""
        return interrupt.is_idle(self.request)

    @property
    def phase(self) -> Phase:
        """As much as can be seen from outside: idle or working."""
        return "idle" if self.is_idle else "working"

    def interrupt(self, cause: Cause) -> None:
        """End its idle wait, or the next one."""
        with self.book.lock:
            if not self.sealed:
                interrupt.end_idle(self.request)

    def cut(self, cause: Cause) -> None:
        """Raise `RequestCut` in its thread, or cancel the async call that it is in."""
        with self.book.lock:
            if self.sealed or self.was_cut:
                return
            self.cause = self.cause or cause
            self.was_cut = True
            if self.call is not None:
                self.call()
            else:
                interrupt.cut(self.request, self.thread, self.reason())

    def reason(self) -> str:
        """What `RequestCut` says."""
        return f"the request of {self.peer} was cut off: {_WHY.get(self.cause, self.cause)}"

    def stack(self) -> tuple[str, ...]:
        """Return where its thread is."""
        return interrupt.stack_of(self.thread)


_WHY: dict[Cause | None, str] = {
    Cause.DRAIN: "the server drains, and the grace for requests in progress is over (drain deadline)",
    Cause.REQUEST: "its time is over (request, Policy.request_timeout)",
    Cause.PARENT: "the trio program that serves it was cancelled (parent)",
}


#: Whose request a thread handles, by thread.
_books: dict[int, Book] = {}


class Book:
    """The records of one server in one process."""

    def __init__(self, name: str, policy: Policy | None) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.name = name
        self.policy = policy
        self.roster = Roster(Limits())
        self.live: dict[int, Plain | Request] = {}
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
        self.max_requests = math.inf if policy is None else policy.max_requests
        #: What `time.perf_counter()` is behind the supervisor's clock.
        self._clock = 0.0
        self._holding = threading.Lock()
        self._holds = 0
        self._oversight: oversee.Oversight | None = None
        if policy is not None and policy.observers:
            self.emitter = Emitter(name, trio.current_time, policy.observers)

    # In the threads that serve

    def enter(self, request: Any, client_address: Any) -> tuple[int, Plain | Request | None]:
        """Note that the calling thread begins to handle this request; the result goes to `leave()`."""
        if self.policy is not None:
            self.hold()
        thread = threading.get_ident()
        plain = Plain(request, client_address, time.perf_counter())
        record: Plain | Request = plain
        with self.lock:
            before = self.live.get(thread)
            if self.host is not None:
                record = self._promote(thread, plain)
            else:
                tally = self.roster.tally
                tally.accepted += 1
                if len(self.live) >= tally.peak:
                    tally.peak = len(self.live) + 1
            self.live[thread] = record
        _books[thread] = self
        if isinstance(record, Request):
            self._tell_opened(record)
        return thread, before

    def leave(self, place: tuple[int, Plain | Request | None], error: BaseException | None = None) -> None:
        """Note that the handler which this thread entered with `place` has ended, by `error` if it raised."""
        thread, before = place
        with self.lock:
            record = self.live.get(thread)
            entry = record if isinstance(record, Request) else None
            if entry is not None:
                entry.sealed = True
                if entry.was_cut:
                    interrupt.uncut(thread)
                self.roster.remove(entry)
            if before is None:
                self.live.pop(thread, None)
                _books.pop(thread, None)
            else:
                self.live[thread] = before
            cause = (entry and entry.cause) or cause_of(error)
            if entry is None or not entry.reported:
                self.roster.tally.ended[cause] += 1
        if entry is not None:
            self._tell_closed(entry, cause, error)
        self.poke()
        if self.policy is not None:
            self.release()

    def own_entry(self) -> Request | None:
        """Return the entry of the request that the calling thread handles."""
        thread = threading.get_ident()
        with self.lock:
            record = self.live.get(thread)
            if isinstance(record, Plain):
                self.roster.tally.accepted -= 1
                record = self.live[thread] = self._promote(thread, record)
            return record

    def expect(self, request: Any) -> None:
        """Note that a thread is about to be started for this request."""
        self.expected[id(request)] = None

    def arrived(self, request: Any) -> None:
        """Take back `expect()`: the request is over."""
        if self.expected.pop(id(request), self) is None:
            self.poke()

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
        can.
        """
        if self.policy is None or not self.policy.needs_oversight:
            return
        with self._holding:
            if not self._holds:
                self._oversight = oversee.begin(self, self.policy.request_timeout)
            self._holds += 1

    def release(self) -> None:
        """Take back one `hold()`."""
        if self.policy is None or not self.policy.needs_oversight:
            return
        with self._holding:
            self._holds -= 1
            if not self._holds and self._oversight is not None:
                self._oversight.end()

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
        with self.lock:
            clock = trio.current_time() - time.perf_counter()
            for entry in self.roster.entries():
                entry.accepted += clock - self._clock
            self._clock = clock
            self.host = host
            for thread, record in self.live.items():
                if isinstance(record, Plain):
                    self.roster.tally.accepted -= 1
                    self.live[thread] = self._promote(thread, record)

    def unsupervise(self, host: Host) -> None:
        """End `supervise()` in this host; entries stay what they are."""
        with self.lock:
            if self.host is host:
                self.host = None

    def _promote(self, thread: int, record: Plain) -> Request:
        entry = Request(
            accepted=record.since + self._clock,
            scope=_NO_SCOPE,
            request=record.request,
            address=address_of(record.request, record.client_address),
            thread=thread,
            book=self,
        )
        self.roster.add(entry)
        on_newcomer, host = self.on_newcomer, self.host
        if on_newcomer is not None and host is not None:
            entry.newcomer = True
            host.soon(on_newcomer, entry)
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
            duration = time.perf_counter() + self._clock - entry.accepted
            self.tell(
                ConnectionClosed,
                cause=cause, received=received, sent=sent, duration=duration, error=error, **who,
            )  # fmt: skip


def book_of(server: BaseServer) -> Book:
    """Return the server's book in this process; it is made when it is first asked for."""
    attributes = vars(server)
    book: Book | None = attributes.get(_SLOT)
    if book is None or book.pid != os.getpid():
        fresh = Book(type(server).__name__, getattr(server, "trio_policy", None))
        if book is None:
            # Two threads may be here at once; they must agree.
            return attributes.setdefault(_SLOT, fresh)  # type: ignore[no-any-return]
        attributes[_SLOT] = fresh
        return fresh
    return book


def leave(book: Book, place: tuple[int, Plain | Request | None], error: BaseException | None) -> None:
    """Do `book.leave()` whatever happens."""
    try:
        book.leave(place, error)
    except interrupt.RequestCut:
        # The cut came before the seal. There is only one in the life of a request, so this time it goes
        # through.
        book.leave(place, error)
        raise


def book_of_thread() -> Book | None:
    """Return the book of the server whose request the calling thread handles, or None."""
    book = _books.get(threading.get_ident())
    return book if book is not None and book.pid == os.getpid() else None
