"""The table of the requests of a compat server. The serving threads write it; a trio task reads it to act on
requests.

Rules of this file:

1. **A request costs two operations on a dict.** Its thread adds a plain record when the handler begins, and
   removes it when the handler has ended, without a lock and without a switch to another thread; most of this
   is inlined in `BaseServer.finish_request()`. It relies on atomic operations: setting, getting, popping and
   counting items of a dict, copying one, and `next()` of an `itertools.count`. The GIL makes them atomic.
   Without it (PEP 703) a dict and a list lock themselves, and a count does not: there two ends in the same
   instant could be counted as one.
2. **Trio is not imported here.** Every fork copies the pages of a forking server, so it runs without trio.
   What needs trio is in `bridge` and `control`, which are imported with the first drain, deadline or
   observer.
3. *No new request is missed*: a thread adds its record before it reads `host`; a supervisor sets `host`
   before it reads the records. *No end is missed*: a thread removes its record before it looks for its entry;
   a supervisor that makes an entry checks afterwards whether the record is still there. In both cases, one of
   the two sees the other's change.
4. **Every request is counted**: one whose thread has not begun is in `expected`. A request is sealed when its
   handler has returned, before its thread goes on, so that no cut reaches what the thread does next.
5. A table belongs to one process. The child of a fork has a copy of the parent's table; it makes a new one as
   soon as there is more to do than to add a record.
6. No reference to a request is kept after its handler has ended.
"""

from __future__ import annotations

import itertools
import math
import sys
from os import getpid
from threading import RLock as _RLock
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from .handshakes import Handshakes
from .tracking import Tracking, tracking_for

if TYPE_CHECKING:
    from _thread import RLock
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
    """Holds the ports to the packages above."""

    #: Set by `triosock.compat`, before any server exists.
    parts: Parts[RequestTable]


#: The one port of the process.
port: Port = Port()

SLOT = "_BaseServer__triosock"
#: The class attribute that marks a `GreenMixIn`; and whether `--green` was given for the whole program.
GREEN = "_BaseServer__green"
all_green: bool = False

#: A record is a list, which is faster to make than an object. Its items are the request, the client's
#: address, the time of its beginning (`clock.now()`), its entry if one was made, and its state.
REQUEST, ADDRESS, SINCE, ENTRY, STATE = range(5)
#: The states of a record: None, or the request table is held for it, or its end was counted.
HELD, LEFT = "held", "left"


class RequestTable:
    """The records of one server in one process."""

    #: The numbers of requests that failed or lost their peer; the most at once; the errors of accept().
    failed: int = 0
    lost: int = 0
    peak: int = 0
    accept_errors: int = 0
    #: The trio run that supervises the requests; None for none.
    host: Host | None = None
    emitter: Emitter | None = None
    #: Called in the trio thread when a request has ended (`on_leave`), and for each request that begins
    #: during a drain (`on_newcomer`). Set only while there is a host.
    on_leave: Callable[[], None] | None = None
    #: Whether `on_leave` is scheduled already: one call is enough for all requests that end before it.
    is_notified: bool = False
    on_newcomer: Callable[[RequestEntry], None] | None = None
    #: The `CompatServer` that serves it in a trio program.
    served: ServedInTrio | None = None
    #: The drain in progress.
    drain: RunningDrain | None = None
    #: The group of its requests, if it is a green server.
    green: Group | None = None
    #: The work for each request besides its record.
    tracking: Tracking
    #: Whether requests are handled in child processes.
    forks: bool
    #: Whether a request needs more than its record. Stored, since every request reads it.
    is_special: bool
    _holds: int = 0
    _deadlines: Deadlines | None = None
    _supervision: Supervision | None = None
    _lifecycle: Lifecycle | None = None

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
        # Reentrant, since a signal handler may read statistics or drain while its thread has them.
        self.lock: RLock = _RLock()
        self._holding = _RLock()
        self.name = name
        self.policy = policy
        self.live: dict[int, Record] = {}
        #: Incremented by `next()`, which is atomic, and also read by it.
        self.leaves: Iterator[int] = itertools.count()
        self.expected: dict[int, None] = {}
        self.handshakes: Handshakes = Handshakes()
        #: They end the waits of the serving loops, from any thread.
        self.wakers: list[Callable[[], None]] = []
        self.max_requests: float = math.inf if policy is None else policy.max_requests
        self.tracking = tracking_for(policy, watched)
        self.forks = forks
        self.is_special = forks or green or self.tracking > Tracking.NONE
        if self.is_overseen:
            self.emitter = port.parts.trio().make_emitter(self, watched)
        if green:
            self.green = port.parts.green().group(self)

    # In the serving threads

    def me(self) -> int:
        """Return the key of the calling thread in `live`, or of the calling green task."""
        if self.green is not None:
            task = port.parts.green().current()
            if task is not None:
                return task.number
        return get_ident()

    def attend(self, record: Record) -> None:
        """Do what a request needs besides its record. In its thread, after the record was added."""
        if self.pid != getpid():
            return  # the child of a fork, with the parent's table
        if self.is_overseen:
            self.hold()
            record[STATE] = HELD
        # A supervisor sets the host before it reads the records: one of the two sees the other.
        if self.host is not None:
            self.supervision.attend(self.me(), record)

    def leave(self, record: Record, around: Record | None, error: BaseException | None = None) -> None:
        """Remove a record whose handler, in the calling thread, has ended, by `error` if it raised. `around`
        is the record of the request that the thread was handling before. Does nothing when called again.
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
        if record[ENTRY] is None and error is None and self.host is None and not self.tracking:
            record[STATE] = LEFT
            next(self.leaves)
            return
        if self.pid != getpid():
            return
        if record[ENTRY] is None or not self.supervision.leave(thread, record, error):
            record[STATE] = LEFT
            self._count(error)
        record[STATE] = LEFT
        self.notify()
        if state is HELD:
            self.release()

    def _count(self, error: BaseException | None) -> None:
        if error is not None:
            with self.lock:
                self.failed += 1
                self.lost += isinstance(error, ConnectionError)
        next(self.leaves)

    def expected_changed(self) -> None:
        """Notify drains and observers that a request was removed from `expected`."""
        if self.pid == getpid():
            self.notify()
            if self.is_overseen:
                self.lifecycle.check_closed()

    def notify(self) -> None:
        """Have the drain and the waits of the loops check again whether a request has ended."""
        host = self.host
        if self.on_leave is not None and host is not None and not self.is_notified:
            self.is_notified = True
            host.soon(self._notify_drain)
        if self.max_requests != math.inf:
            for wake in tuple(self.wakers):
                wake()

    def _notify_drain(self) -> None:
        # The flag is reset first, so that a request that ends from here on schedules the next call.
        self.is_notified = False
        on_leave = self.on_leave
        if on_leave is not None:
            on_leave()

    def hold(self) -> None:
        """Have a trio run serve the deadlines and observers until `release()`. Raises: RuntimeError if no
        trio run can be started and the policy needs one, which a timeline alone does not.
        """
        if not self.is_overseen:
            return
        with self._holding:
            if not self._holds:
                timeout = math.inf if self.policy is None else self.policy.request_timeout
                try:
                    self._deadlines = port.parts.trio().watch_deadlines(self, timeout)
                except RuntimeError:
                    if self.tracking is Tracking.REQUIRED:
                        raise
            self._holds += 1

    def release(self) -> None:
        """Undo one `hold()`; the last call ends the deadline task."""
        if not self.is_overseen:
            return
        with self._holding:
            if self._holds == 1:
                self.lifecycle.check_closed_held()
            self._holds -= 1
            if not self._holds and self._deadlines is not None:
                deadlines, self._deadlines = self._deadlines, None
                deadlines.end()

    @property
    def is_overseen(self) -> bool:
        """Whether the requests are supervised while they run."""
        return self.tracking >= Tracking.WATCHED

    @property
    def lifecycle(self) -> Lifecycle:
        """The object that emits the lifecycle events. Only for a server whose requests are supervised."""
        found = self._lifecycle
        if found is None:
            with self.lock:
                found = self._lifecycle = self._lifecycle or port.parts.trio().make_lifecycle(self)
        return found

    @property
    def lifetime(self) -> float | None:
        """Seconds from the accept of a request to its end, by the policy; None for no end."""
        timeout = math.inf if self.policy is None else self.policy.request_timeout
        return None if timeout == math.inf else timeout

    @property
    def is_full(self) -> bool:
        """Whether `Policy.max_requests` are being served."""
        # With the stock threads, a request stays expected while it is handled, so `expected` has all of them.
        return max(len(self.live), len(self.expected)) >= self.max_requests

    @property
    def is_empty(self) -> bool:
        """Whether no request is handled or expected."""
        return not self.live and not self.expected

    # For supervisors

    @property
    def supervision(self) -> Supervision:
        """The supervisor of the requests; made when it is first used."""
        found = self._supervision
        if found is None:
            with self.lock:
                found = self._supervision = self._supervision or port.parts.trio().supervise(self)
        return found

    @property
    def registry(self) -> Registry:
        """The registry with the entries of the requests that have one, and the counts."""
        return self.supervision.registry

    def tally(self) -> Tally:
        """Return the counts up to now."""
        return self.supervision.tally()

    def emit(self, kind: type[Event], **fields: object) -> None:
        """Emit an event in the trio thread, if an observer wants it."""
        emitter, host = self.emitter, self.host
        if emitter is not None and host is not None and emitter.takers(kind):
            host.soon(lambda: emitter.emit(kind, **fields))


ABSENT: Final = object()


def of_class(server: object, name: str, default: Any = None) -> Any:
    """Return an attribute of the server's class. The server itself may have a `__getattr__` for any name, and
    may not be initialised yet.
    """
    for kind in type(server).__mro__:
        if name in kind.__dict__:
            return kind.__dict__[name]
    return default


def request_table_of(server: object) -> RequestTable:
    """Return the server's table in this process; it is made when it is first used."""
    attributes = vars(server)
    request_table: RequestTable | None = attributes.get(SLOT)
    if request_table is None or request_table.pid != getpid():
        # A forking server is not recorded: that needs a thread, and children could not add to it.
        forks = of_class(server, "active_children", ABSENT) is not ABSENT
        policy = check_policy(server)
        fresh = RequestTable(
            type(server).__name__,
            policy,
            watched=_is_watched() and not forks,
            forks=forks,
            green=is_green(server),
        )
        if request_table is None:
            # Two threads may be here at once, and must get the same table.
            agreed: RequestTable = attributes.setdefault(SLOT, fresh)
            return agreed
        attributes[SLOT] = fresh
        return fresh
    return request_table


def check_policy(server: object) -> Policy | None:
    """Return a server's policy, or None. Raises: TypeError if it is no Policy, or not for this server."""
    policy: Policy | None = vars(server).get("trio_policy") or of_class(server, "trio_policy")
    if policy is None:
        return None
    name = type(server).__name__
    if not hasattr(policy, "needs_oversight"):
        raise TypeError(f"trio_policy of {name} must be a triosock.compat.Policy(…), not {policy!r}")
    if policy.proxy is not None and not is_green(server):
        raise TypeError(
            f"the Policy of {name} has a proxy, which needs a green server: put "
            'GreenMixIn in the place of ThreadingMixIn, or say Policy(mode="green")'
        )
    return policy


def request_table_for(server: object, request_table: RequestTable | None) -> RequestTable | None:
    """Return the table of this process for a request of the server, whose current table is `request_table`;
    None in the child of a forking server: nothing reads a table there, and writing it would copy pages.
    """
    if (
        request_table is not None
        and request_table.forks
        and not request_table.tracking
        and request_table.pid != getpid()
    ):
        return None
    return request_table_of(server)


def is_green(server: object) -> bool:
    """Whether the requests of a server have tasks instead of threads."""
    if of_class(server, GREEN) or (all_green and of_class(server, "process_request_thread")):
        return True
    policy = vars(server).get("trio_policy") or of_class(server, "trio_policy")
    return getattr(policy, "mode", None) == "green"


def _is_watched() -> bool:
    # An open timeline has imported the emitter.
    emitter = sys.modules.get("triosock._core.model.emitter")
    return emitter is not None and bool(getattr(emitter, "watchers", ()))


def emit_listener_closed(server: object) -> None:
    """Emit `ListenerClosed` for a server, if it has observers in this process."""
    request_table: RequestTable | None = vars(server).get(SLOT)
    if request_table is not None and request_table.is_overseen and request_table.pid == getpid():
        request_table.lifecycle.listener_closed()
