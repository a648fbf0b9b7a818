"""The requests of a compat server as a trio run sees them: entries of the core's `Registry`, and events.

Rules of this file:

1. It is made for the first drain, deadline, observer or statistics of a server. The request table is
   *supervised* as long as it has a host: each record then has an entry, whose times are those of the
   supervising trio run, and later requests get an entry at their start.
2. Entries are added and removed under the lock of the request table. If a request ends while its entry is
   being made, at least one of the two threads sees the other's change, and removes the entry.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from triosock import Cause
from triosock._core.model.config import Limits
from triosock._core.model.emitter import Emitter
from triosock._core.model.events import ConnectionClosed, ConnectionOpened, HandlerFailed
from triosock._core.registry.registry import Registry, Tally

from ..requests.clock import now
from ..requests.table import ADDRESS, ENTRY, REQUEST, SINCE
from . import tcp_state, thread_interrupt
from .addresses import address_of, cause_of, local_of
from .request_entry import Request

if TYPE_CHECKING:
    from ..requests.ports import Host, Record
    from ..requests.table import RequestTable

#: The scope of an entry without a task.
_NO_SCOPE = trio.CancelScope()


def make_emitter(request_table: RequestTable, watched: bool) -> Emitter | None:
    """Return the emitter of a new table, if it has observers or a timeline is open."""
    asked = () if request_table.policy is None else request_table.policy.observers
    return Emitter(request_table.name, trio.current_time, asked) if asked or watched else None


class Supervisor:
    """The entries of a request table."""

    def __init__(self, request_table: RequestTable) -> None:
        self.registry: Registry = Registry(Limits())
        #: The time of the (last) supervising trio run minus `clock.now()`, in seconds.
        self.clock: float = 0.0
        self._request_table = request_table
        #: The counts of the request table that the tally of the registry has already, and how often they were
        #: read.
        self._counted = 0
        self._reads = 0
        self._failed = 0
        self._lost = 0

    # In the serving threads

    def attend(self, thread: int, record: Record) -> None:
        """Make the entry of a record that was just added, in the thread that handles it."""
        with self._request_table.lock:
            entry = self._promote(thread, record)
        self._emit_opened(entry)

    def leave(self, thread: int, record: Record, error: BaseException | None) -> bool:
        """Remove the entry of a record, in the thread that handled it; False if it was removed already."""
        request_table = self._request_table
        with request_table.lock:
            entry: Request = record[ENTRY]
            if entry.gone:
                return False
            entry.sealed = True
            if entry.was_cut and entry.green is None:
                thread_interrupt.withdraw_cut(thread)
            # Under the lock, so that no cut comes in between.
            entry.gone = True
            self.registry.remove(entry)
            cause = entry.cause or cause_of(error)
            if not entry.reported:
                entry.reported = True
                self.registry.tally.ended[cause] += 1
        self._emit_closed(entry, cause, error)
        return True

    def own_entry(self) -> Request | None:
        """Return the entry of the request that the calling thread handles."""
        thread = self._request_table.me()
        record = self._request_table.live.get(thread)
        if record is None:
            return None
        with self._request_table.lock:
            return self._promote(thread, record)

    def tally(self) -> Tally:
        """Return the counts up to now."""
        request_table = self._request_table
        with request_table.lock:
            tally = self.registry.tally
            # Threads count with next() and without a lock, and reading uses next() too.
            ended = next(request_table.leaves) - self._reads
            self._reads += 1
            more, self._counted = ended - self._counted, ended
            failed, self._failed = request_table.failed - self._failed, request_table.failed
            lost, self._lost = request_table.lost - self._lost, request_table.lost
            for cause, number in (
                (Cause.PEER, lost),
                (Cause.FAILED, failed - lost),
                (Cause.FINISHED, more - failed),
            ):
                if number:
                    tally.ended[cause] += number
            tally.accepted += more
            tally.peak = max(tally.peak, request_table.peak)
            tally.accept_errors += request_table.accept_errors
            request_table.accept_errors = 0
            return tally

    # In the supervising trio thread

    def begin(self, host: Host) -> None:
        """Make an entry for each record, now and later, with the times of the calling trio run."""
        request_table = self._request_table
        self.tally()
        with request_table.lock:
            clock = trio.current_time() - now()
            for entry in self.registry.entries():
                entry.accepted += clock - self.clock
            self.clock = clock
            request_table.host = host
            for thread, record in tuple(request_table.live.items()):
                self._promote(thread, record)

    def end(self, host: Host) -> None:
        """Undo `begin()` in this host; the entries stay."""
        with self._request_table.lock:
            if self._request_table.host is host:
                self._request_table.host = None

    def _promote(self, thread: int, record: Record) -> Request:
        """Make the entry of a record, or return the one that it has. Under the lock."""
        entry: Request | None = record[ENTRY]
        if entry is not None:
            return entry
        request_table = self._request_table
        green = None if request_table.green is None else request_table.green.task(thread)
        entry = Request(
            accepted=record[SINCE] + self.clock,
            scope=_NO_SCOPE if green is None else green.scope,
            green=green,
            request=record[REQUEST],
            address=address_of(record[REQUEST], record[ADDRESS]),
            thread=thread,
            request_table=request_table,
        )
        self.registry.add(entry)
        record[ENTRY] = entry
        if request_table.live.get(thread) is not record:
            # Its thread has ended the request and counts it, or finds `gone` and counts it then.
            entry.sealed = entry.gone = True
            self.registry.remove(entry)
            self.registry.tally.accepted -= 1
            return entry
        on_newcomer, host = request_table.on_newcomer, request_table.host
        if on_newcomer is not None and host is not None:
            entry.spared_until = math.inf  # the drain has its own deadline
            host.soon(on_newcomer, entry)
        return entry

    # Events

    def _emit_opened(self, entry: Request) -> None:
        emitter = self._request_table.emitter
        if emitter is not None and emitter.wants_openings:
            local = local_of(entry.request)
            self._request_table.emit(ConnectionOpened, connection=entry.number, peer=entry.peer, local=local)

    def _emit_closed(self, entry: Request, cause: Cause, error: BaseException | None) -> None:
        request_table = self._request_table
        if request_table.emitter is None:
            return
        who = {"connection": entry.number, "peer": entry.peer}
        if cause is Cause.FAILED and error is not None:
            request_table.emit(HandlerFailed, error=error, **who)
        if request_table.emitter.takers(ConnectionClosed):
            received, sent = tcp_state.count_bytes(entry.request)
            with request_table.lock:
                self.registry.tally.received += received
                self.registry.tally.sent += sent
            duration = now() + self.clock - entry.accepted
            request_table.emit(
                ConnectionClosed,
                cause=cause, received=received, sent=sent, duration=duration, error=error, **who,
            )  # fmt: skip
