"""Who is being served by a compat server, kept by the threads that serve, for the trio task that may have to
act.

Rules of this file:

1. **A request costs next to nothing.** Its thread puts a plain record into a dict when the handler begins,
   and takes it off when it has ended: single operations, without a lock and without a hop to another thread,
   and most of it is written out in `BaseServer.finish_request()`. Nobody is told. What is relied on: setting,
   getting, popping and counting items of a dict, and copying one, are atomic, and so is `next()` of an
   `itertools.count`. The GIL makes them so. Without it (PEP 703) a dict and a list lock themselves, and a
   count does not: there two ends in the same instant could be counted as one.
2. **Nothing heavy is imported.** A forking server, which pays for each page of its process with every fork,
   does so without trio. What needs it is in `bridge` and `control`, which come with the first one who wants
   to act: a drain, a deadline, observers.
3. *Who comes is seen*: a thread puts its record down before it looks whether somebody supervises (`host`);
   who begins to supervise sets `host` before looking at the records. *Who goes is seen*: a thread takes its
   record off before it looks for its entry; who makes an entry looks afterwards whether the record is still
   there. In both cases, one of the two sees the other.
4. **Nobody is counted out too early**: a request that waits for its thread to start is `expected`; and one
   whose handler has returned is sealed before its thread goes on: no cut can reach what the thread does next.
5. A book belongs to one process. After a fork the child finds the parent's and begins a new one, as soon as
   there is more to do than to put down a record.
6. Nothing here holds a request longer than its handler runs.
"""

from __future__ import annotations

import itertools
import math
import sys
from os import getpid
from threading import Lock as _Lock
from threading import RLock as _RLock
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from .attention import Attention, attention_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triosock._core.model.emitter import Emitter
    from triosock._core.model.events import Event
    from triosock._core.registry.registry import Registry, Tally

    from .ports import (
        Deadlines,
        Group,
        Host,
        Lifecycle,
        Parts,
        Policy,
        Record,
        RequestEntry,
        RunningDrain,
        ServedInTrio,
        Supervision,
    )


class Port:
    """Through which the rooms above hand in what they make."""

    #: Set by `triosock.compat`, before there is a server.
    parts: Parts[Book]


#: The one that there is.
port: Port = Port()

SLOT = "_BaseServer__triosock"
#: What a `GreenMixIn` has; and whether `--green` was said for the whole program.
GREEN = "_BaseServer__green"
all_green: bool = False

#: A record is a list, which is made in a fraction of the time of an object: the request, the client's
#: address, since when (in `clock.now()`), its entry once somebody asked, and how far it is.
REQUEST, ADDRESS, SINCE, ENTRY, STATE = range(5)
#: What a record's state can be besides None: the book is held for it; its leaving was counted.
HELD, LEFT = "held", "left"


class Book:
    """The records of one server in one process."""

    #: How many of those who left had failed, or lost their peer; how many were here at once; and errors of
    #: accepting.
    failed: int = 0
    lost: int = 0
    peak: int = 0
    accept_errors: int = 0
    #: The trio run that supervises, if one does.
    host: Host | None = None
    emitter: Emitter | None = None
    #: What to call in the trio thread whenever somebody has left, and for who comes in a drain. Only set
    #: while there is a host.
    on_leave: Callable[[], None] | None = None
    #: Whether that call is on its way: thousands may leave in one turn, and one call is enough for all.
    is_poked: bool = False
    on_newcomer: Callable[[RequestEntry], None] | None = None
    #: What serves it in a trio program.
    served: ServedInTrio | None = None
    #: The drain that is going on.
    drain: RunningDrain | None = None
    #: Those of its requests that have tasks instead of threads, if it is a green server.
    green: Group | None = None
    #: Ends the waits of the loops that serve, from any thread.
    wakers: list[Callable[[], None]]
    #: What there is to a request besides its record.
    attention: Attention
    #: Whether requests are handled in child processes.
    forks: bool
    #: Whether a request takes the long way: decided once, as each request asks.
    is_special: bool
    _holds: int = 0
    _deadlines: Deadlines | None = None
    _supervision: Supervision | None = None
    _life: Lifecycle | None = None

    def __init__(
        self,
        name: str,
        policy: Policy | None,
        *,
        watched: bool = False,
        forks: bool = False,
        green: bool = False,
    ) -> None:
        self.pid: int = getpid()
        # A signal handler may ask for statistics while its own thread counts.
        self.lock = _RLock()
        self.name = name
        self.policy = policy
        self.live: dict[int, Record] = {}
        #: Counted by `next()`, which threads cannot get between, and read by it too.
        self.leaves: Iterator[int] = itertools.count()
        self.expected: dict[int, None] = {}
        self.wakers = []
        self.max_requests: float = math.inf if policy is None else policy.max_requests
        self._holding = _Lock()
        self.attention = attention_for(policy, watched)
        self.forks = forks
        self.is_special = forks or green or self.attention > Attention.NONE
        if self.is_overseen:
            self.emitter = port.parts.trio().make_emitter(self, watched)
        if green:
            self.green = port.parts.green().group(self)

    # In the threads that serve

    def me(self) -> int:
        """Return the key of the calling thread in `live`, or of the calling green task."""
        if self.green is not None:
            task = port.parts.green().current()
            if task is not None:
                return task.number
        return get_ident()

    def attend(self, record: Record) -> None:
        """Do for a request what is more than a record. In its thread, with the record put down already."""
        if self.pid != getpid():
            return  # a child of a fork, with what its parent had
        if self.is_overseen:
            self.hold()
            record[STATE] = HELD
        # Who supervises sets the host before looking at the records: one of us sees the other.
        if self.host is not None:
            self.supervision.attend(self.me(), record)

    def leave(self, record: Record, around: Record | None, error: BaseException | None = None) -> None:
        """Note that the handler of this record, in the calling thread, has ended, by `error` if it raised;
        `around` is the request that the thread was handling before. Does nothing when called again.
        """
        thread, live = self.me(), self.live
        if live.get(thread) is record:
            if around is None:
                del live[thread]
            else:
                live[thread] = around
        state = record[STATE]
        if state is LEFT:
            return
        if record[ENTRY] is None and error is None and self.host is None and not self.attention:
            record[STATE] = LEFT
            next(self.leaves)
            return
        if self.pid != getpid():
            return
        if record[ENTRY] is None or not self.supervision.leave(thread, record, error):
            record[STATE] = LEFT
            self._count(error)
        record[STATE] = LEFT
        self.poke()
        if state is HELD:
            self.release()

    def _count(self, error: BaseException | None) -> None:
        if error is not None:
            with self.lock:
                self.failed += 1
                self.lost += isinstance(error, ConnectionError)
        next(self.leaves)

    def arrived(self) -> None:
        """A request was taken out of `expected`: its thread is over, or could not start."""
        if self.pid == getpid():
            self.poke()
            if self.is_overseen:
                self.life.look()

    def poke(self) -> None:
        """Have whoever waits for an end look again."""
        host = self.host
        if self.on_leave is not None and host is not None and not self.is_poked:
            self.is_poked = True
            host.soon(self._look_again)
        if self.max_requests != math.inf:
            for wake in tuple(self.wakers):
                wake()

    def _look_again(self) -> None:
        # The flag goes first: what leaves from here on pokes again.
        self.is_poked = False
        if self.on_leave is not None:
            self.on_leave()

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
                    self._deadlines = port.parts.trio().watch_deadlines(self, timeout)
                except RuntimeError:
                    if self.attention is Attention.REQUIRED:
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
            if not self._holds and self._deadlines is not None:
                deadlines, self._deadlines = self._deadlines, None
                deadlines.end()

    @property
    def is_overseen(self) -> bool:
        """Whether somebody looks after the requests while they run."""
        return self.attention >= Attention.WATCHED

    @property
    def life(self) -> Lifecycle:
        """What is told of the life of the server; only where it is overseen."""
        found = self._life
        if found is None:
            with self.lock:
                found = self._life = self._life or port.parts.trio().tell_life(self)
        return found

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

    # For those who supervise

    @property
    def supervision(self) -> Supervision:
        """What is known of the requests in a trio run; made when it is first asked for."""
        found = self._supervision
        if found is None:
            with self.lock:
                found = self._supervision = self._supervision or port.parts.trio().supervise(self)
        return found

    @property
    def registry(self) -> Registry:
        """The entries of those who have one, and the counts."""
        return self.supervision.registry

    def tally(self) -> Tally:
        """Return what was counted up to now."""
        return self.supervision.tally()

    def tell(self, kind: type[Event], **fields: object) -> None:
        """Have an event made in the trio thread, if somebody wants it."""
        emitter, host = self.emitter, self.host
        if emitter is not None and host is not None and emitter.takers(kind):
            host.soon(lambda: emitter.emit(kind, **fields))


ABSENT: Final = object()


def of_class(server: object, name: str, default: Any = None) -> Any:
    """Return an attribute of the server's class. The server itself is not asked: it may have an answer for
    any name (`__getattr__`), and not be ready to give one.
    """
    for kind in type(server).__mro__:
        if name in kind.__dict__:
            return kind.__dict__[name]
    return default


def book_of(server: object) -> Book:
    """Return the server's book in this process; it is made when it is first asked for."""
    attributes = vars(server)
    book: Book | None = attributes.get(SLOT)
    if book is None or book.pid != getpid():
        # Not where it forks: a recording is not worth a thread beside a fork, and children could not add to
        # it.
        forks = of_class(server, "active_children", ABSENT) is not ABSENT
        policy = attributes.get("trio_policy") or of_class(server, "trio_policy")
        if getattr(policy, "proxy", None) is not None and not is_green(server):
            raise TypeError(
                f"the Policy of {type(server).__name__} has a proxy, which needs a green server: put "
                'GreenMixIn in the place of ThreadingMixIn, or say Policy(mode="green")'
            )
        fresh = Book(
            type(server).__name__,
            policy,
            watched=_is_watched() and not forks,
            forks=forks,
            green=is_green(server),
        )
        if book is None:
            # Two threads may be here at once; they must agree.
            agreed: Book = attributes.setdefault(SLOT, fresh)
            return agreed
        attributes[SLOT] = fresh
        return fresh
    return book


def book_for_request(server: object, book: Book | None) -> Book | None:
    """Return the book of this process for a request of the server, which has `book` now; None in the child
    of a forking server: nobody can look there, and each page that it writes to is copied.
    """
    if book is not None and book.forks and not book.attention and book.pid != getpid():
        return None
    return book_of(server)


def is_green(server: object) -> bool:
    """Whether the requests of a server are to have tasks instead of threads."""
    if of_class(server, GREEN) or (all_green and of_class(server, "process_request_thread")):
        return True
    policy = vars(server).get("trio_policy") or of_class(server, "trio_policy")
    return getattr(policy, "mode", None) == "green"


def _is_watched() -> bool:
    # Who watches has imported the emitter.
    emitter = sys.modules.get("triosock._core.model.emitter")
    return emitter is not None and bool(getattr(emitter, "watchers", ()))


def closes(server: object) -> None:
    """Have the observers of a server told that its listener is closed, if it has any in this process."""
    book: Book | None = vars(server).get(SLOT)
    if book is not None and book.is_overseen and book.pid == getpid():
        book.life.closes()
