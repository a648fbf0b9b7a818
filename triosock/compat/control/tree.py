"""The servers that plain threads serve, as nodes for `triosock.observe.tree()`.

Rules of this file:

1. **Inspection changes nothing**: it starts no trio run, makes no entries and emits no events. It reads the
   records, whose times are those of `clock.now()`.
2. A server in a trio program (`compat.serve`) is in the tree of that program, and not in this one.
3. It may run in any thread while requests begin and end: it describes a copy, made under the lock of the
   request table.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import trio

from triosock._core.model.node import Node
from triosock._core.registry.description import SnapshotOptions, innermost

from ..bridge.addresses import address_of, address_of_listener
from ..bridge.lifecycle_events import is_closed
from ..bridge.tcp_state import is_idle
from ..bridge.thread_interrupt import stack_of
from ..bridge.trio_thread import THREAD_NAME
from ..requests.clock import now
from ..requests.table import ADDRESS, ENTRY, REQUEST, SINCE, request_table_of
from ..stdlib.base import BaseServer
from ..waiting import poll
from . import current_request
from .serve import CompatServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..requests.ports import Record, Server
    from ..requests.table import RequestTable


def look(what: object, limit: int) -> Iterator[Node]:
    """Yield a node for each server that threads of this process serve, or for the server `what` alone."""
    if isinstance(what, BaseServer):
        request_table = request_table_of(what)
        if request_table.served is not None:
            yield request_table.served.describe(SnapshotOptions(trio.current_time(), limit))
        else:
            yield _Inspection(request_table, what, limit).server()
    elif isinstance(what, CompatServer):
        yield what.describe(SnapshotOptions(trio.current_time(), limit))
    elif what is None:
        found: dict[RequestTable, Server | None] = {
            one.request_table: one.server for one in tuple(poll._servings) if one.is_here()
        }
        for request_table in current_request.busy_request_tables():
            found.setdefault(request_table)
        for request_table, server in found.items():
            if request_table.served is None:
                yield _Inspection(request_table, server, limit).server()


class _Inspection:
    """One inspection of one server. `server` is None if only its requests are known."""

    def __init__(self, request_table: RequestTable, server: Server | None, limit: int) -> None:
        self._request_table = request_table
        self._server = server
        self._limit = limit
        self._now = now()
        self._threads = {one.ident: one.name for one in threading.enumerate()}
        self._grace = math.inf
        drain = request_table.drain
        if drain is not None and drain.scope.deadline < math.inf:
            # The deadline is in the time of the supervising trio run, and is converted to that of the
            # records.
            self._grace = drain.scope.deadline - request_table.supervision.clock - self._now

    def server(self) -> Node:
        request_table = self._request_table
        tally = request_table.tally()
        with request_table.lock:
            live = sorted(request_table.live.items(), key=lambda item: item[1][SINCE])
            accepted = tally.accepted + sum(record[ENTRY] is None for _, record in live)
            refused = sum(tally.refused.values())
        since = min(self._loops(), default=None)
        idle = sum(is_idle(record[REQUEST]) for _, record in live)
        return Node(
            kind="server",
            name=request_table.name,
            state=self._state(),
            age=None if since is None else self._now - since,
            due=None if self._grace == math.inf else self._grace,
            due_to="" if self._grace == math.inf else self._drain(),
            counts=(("active", len(live)), ("idle", idle), ("accepted", accepted), ("refused", refused)),
            more=max(0, len(live) - self._limit),
            children=(
                *self._listener(),
                *(self._request(thread, record) for thread, record in live[: self._limit]),
                *self._children(),
            ),
        )

    def _state(self) -> str:
        if self._request_table.drain is not None:
            return "draining"
        return "serving" if self._loops() else "not accepting"

    def _loops(self) -> list[float]:
        return [
            one.since
            for one in tuple(poll._servings)
            if one.request_table is self._request_table and one.is_here()
        ]

    def _drain(self) -> str:
        return f"grace: drain of server {self._request_table.name}"

    def _listener(self) -> Iterator[Node]:
        if self._server is not None:
            closed = is_closed(self._server)
            name = "" if closed else str(address_of_listener(self._server))
            yield Node(kind="listener", name=name, state="closed" if closed else "open")

    def _request(self, thread: int, record: Record) -> Node:
        entry = record[ENTRY]
        age = self._now - record[SINCE]
        due, origin = self._grace, self._drain()
        lifetime = self._request_table.lifetime
        if lifetime is not None and lifetime - age < due:
            due, origin = lifetime - age, "Policy.request_timeout"
        green = None if self._request_table.green is None else self._request_table.green.task(thread)
        where = innermost(stack_of(thread) if green is None else green.stack())
        # A green request has no thread of its own: it runs in that of the host.
        name = THREAD_NAME if green is not None else self._threads.get(thread, str(thread))
        return Node(
            kind="connection",
            name="" if entry is None else str(entry.number),
            state="idle" if is_idle(record[REQUEST]) else "working",
            peer=str(address_of(record[REQUEST], record[ADDRESS])),
            age=age,
            due=None if due == math.inf else due,
            due_to="" if due == math.inf else origin,
            where=where,
            children=(Node(kind="thread", name=name, where=where),),
        )

    def _children(self) -> Iterator[Node]:
        for pid in sorted(getattr(self._server, "active_children", None) or ()):
            yield Node(kind="process", name=str(pid))
