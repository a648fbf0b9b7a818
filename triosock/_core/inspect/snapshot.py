"""What lives at this moment, as frozen values: scopes, servers, listeners, connections, requests, threads.

    run ┬─ scope ┬─ server ┬─ listener
        │        │         └─ connection ── request
        │        └─ server …
        └─ server …

The rules:

1. **Looking changes nothing**: no await, no event, nothing is written; and it costs nothing until somebody
   looks, since all that is said here stands in the registry anyway.
2. **A deadline has an origin.** Several may be in force at once: timeouts of the server, the block
   `conn.request()`, the grace of a drain, cancel scopes around. The tightest is the effective one, and
   `due_to` says which it is.
3. Texts are as they are: whoever shows them to people makes them printable.
"""

from __future__ import annotations

import math
import os
import sysconfig
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, final

import attrs
import trio

from ..datagram.server import DatagramServer
from ..datagram.session_table import SessionTable
from ..model.config import Timeouts
from ..model.events import Cause
from ..registry.drain_scope import DrainScope, _current, _roots_here
from ..registry.registry import NEVER, Entry, Registry
from ..registry.timeout_monitor import next_deadline
from ..server.base_server import Server
from .providers import elsewhere

#: Connections of one server that a snapshot describes; more of them are counted.
LIMIT: Final = 200

_ORIGINS: Final = {
    Cause.HANDSHAKE: "Timeouts.handshake",
    Cause.IDLE: "Timeouts.idle",
    Cause.SEND: "Timeouts.send",
    Cause.REQUEST: "Timeouts.request",
    Cause.FINISHED: "Timeouts.close",
    Cause.OVERFLOW: "Timeouts.handshake (overflow)",
}
_CORE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_FOREIGN: Final = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in (trio.__file__, _CORE))
#: Where the standard library is; what is installed beside it (site-packages) may be in there, too.
_STDLIB: Final = sysconfig.get_path("stdlib") + os.sep


@final
@attrs.frozen(kw_only=True)
class Node:
    """Something that lives, and what lives in it.

    `kind` is "run", "scope", "server", "listener", "connection", "session", "datagram", "request", "thread"
    or "process". `age` and `due` are in seconds: since it began, and until its effective deadline (below 0 if
    that is over; None if there is none), which comes from `due_to`. `state` of a connection: queued,
    handshake, idle, reading, sending, working or closing. `where` is the place in the program in which its
    handler is. `more` counts the connections of a server that are not among the `children`.
    """

    kind: str
    name: str = ""
    state: str = ""
    peer: str = ""
    age: float | None = None
    due: float | None = None
    due_to: str = ""
    where: str = ""
    counts: tuple[tuple[str, int], ...] = ()
    more: int = 0
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Return all nodes, this one first."""
        yield self
        for child in self.children:
            yield from child.walk()


def snapshot(what: DrainScope | Server | Any = None, *, limit: int = LIMIT) -> Node:
    """Return what lives now.

    Args: `what`, a server or a `DrainScope`; None for everything in this trio run, and the compat servers
    that threads of this process serve. `limit`, how many connections of each server to describe, the oldest
    first.

    Raises: TypeError; RuntimeError outside of a trio run, unless there are compat servers to be shown.
    Synchronous; costs a look at each connection.
    """
    others: tuple[Node, ...] = tuple(node for look in elsewhere for node in look(what, limit))
    if others and what is not None:
        return others[0]
    if others and not trio.lowlevel.in_trio_run():
        return Node(kind="run", name=f"process {os.getpid()}", children=others)
    now = trio.current_time()
    if what is None:
        # Scopes of the user first; what stands alone, as a window into the program does, comes last.
        roots = sorted(_all_roots(), key=lambda scope: scope._owner is not None)
        inside = tuple(_scope(scope, now, limit) for scope in roots)
        return Node(kind="run", name=f"process {os.getpid()}", children=(*inside, *others))
    scope = what if isinstance(what, DrainScope) else getattr(what, "_scope", None)
    if not isinstance(scope, DrainScope):
        raise TypeError(
            f"a tree is drawn of a server or a DrainScope, or of everything (None), not of {what!r}"
        )
    return _scope(scope, now, limit)


def _all_roots() -> Iterable[DrainScope]:
    """The outermost scopes of this run, and the one around the caller that was entered before the run."""
    roots = dict(_roots_here())
    around = _current.get()
    while around is not None and around._parent is not None:
        around = around._parent
    if around is not None:
        roots[around] = None
    return roots


def _scope(scope: DrainScope, now: float, limit: int) -> Node:
    inside = tuple(_scope(child, now, limit) for child in scope._children)
    due, origin = _grace_of(scope)
    if scope._owner is not None:
        return _server(scope._owner, due, origin, now, limit, inside)
    return Node(
        kind="scope",
        name="DrainScope",
        state="draining" if scope.draining else "left" if scope._is_left else "open",
        due=_left(due, now),
        due_to=origin,
        children=inside,
    )


def _grace_of(scope: DrainScope) -> tuple[float, str]:
    """When the grace is over, and of whose drain: the outermost scope that it came down from."""
    due = scope._deadline
    if due == math.inf:
        return math.inf, ""
    while scope._parent is not None and scope._parent._deadline == due:
        scope = scope._parent
    whose = f"server {scope._owner.name}" if scope._owner is not None else "the scope around"
    return due, f"grace: drain of {whose}"


def _server(owner: Any, due: float, origin: str, now: float, limit: int, inside: tuple[Node, ...]) -> Node:
    """`owner` has a name, addresses and a registry; what it has besides is asked for."""
    registry: Registry = owner._registry
    around = getattr(owner, "_around", math.inf)
    if around < due:
        due, origin = around, "a cancel scope around the server"
    entries = registry.entries()
    view = _View(owner, due, origin, now)
    gate = getattr(owner, "_gate", None)
    suspended = gate is not None and not gate.is_open
    since = getattr(owner, "_since", None)
    return Node(
        kind="server",
        name=owner.name,
        state="draining" if owner.draining else "suspended" if suspended else "serving",
        age=None if since is None else now - since,
        due=_left(due, now),
        due_to=origin,
        counts=(
            ("active", registry.active),
            ("idle", registry.count_idle()),
            ("accepted", registry.tally.accepted),
            ("refused", sum(registry.tally.refused.values())),
        ),
        more=max(0, len(entries) - limit),
        children=(*_listeners(owner, suspended), *map(view.entry, entries[:limit]), *inside),
    )


def _listeners(owner: Any, suspended: bool) -> Iterator[Node]:
    listeners = getattr(owner, "_listeners", None)
    if listeners is None:
        for address in owner.addresses:
            yield Node(kind="listener", name=str(address), state="closed" if owner.draining else "open")
        return
    for listener in listeners:
        state = "closed" if listener.is_closed else "suspended" if suspended else "open"
        yield Node(kind="listener", name=str(listener.address), state=state)


class _View:
    """How one server's entries are looked at."""

    def __init__(self, owner: Any, due: float, origin: str, now: float) -> None:
        self._now = now
        self._around = (due, origin)
        self._timeouts: Timeouts | None = getattr(owner, "timeouts", None)
        #: Of a compat server, where a connection is one request.
        self._each: float = getattr(owner, "_request_timeout", math.inf)
        self._kind = "connection"
        self._origins = _ORIGINS
        if isinstance(owner, DatagramServer) and self._timeouts is not None:
            dispatch = owner._dispatch
            sessions = dispatch._sessions if isinstance(dispatch, SessionTable) else None
            self._kind = "datagram" if sessions is None else "session"
            # Datagrams wait for nothing; a session's idle time is its own.
            idle = math.inf if sessions is None else sessions.idle
            self._timeouts = attrs.evolve(self._timeouts, idle=idle)
            self._origins = {**_ORIGINS, Cause.IDLE: "Sessions.idle"}

    def entry(self, entry: Entry) -> Node:
        now = self._now
        dues = [self._around, *self._dues(entry)]
        due, origin = min(dues, key=lambda due: due[0])
        return Node(
            kind=self._kind,
            name=str(entry.number),
            state=entry.phase,
            peer=str(entry.peer),
            age=now - entry.accepted,
            due=_left(due, now),
            due_to=origin if due < math.inf else "",
            where=innermost(entry.stack()),
            children=tuple(self._inside(entry, dues)),
        )

    def _dues(self, entry: Entry) -> Iterator[tuple[float, str]]:
        if self._timeouts is not None:
            when, cause = next_deadline(entry, self._timeouts)
            if cause is not None:
                yield when, self._origins[cause]
        yield (
            entry.scope.deadline,
            "Timeouts.request" if self._kind != "connection" else "the connection's scope",
        )
        if self._each < math.inf:
            yield entry.accepted + self._each, "Policy.request_timeout"
        block = getattr(entry.served, "request_scope", None)
        if block is not None:
            yield block.deadline, "conn.request()"

    def _inside(self, entry: Entry, dues: list[tuple[float, str]]) -> Iterator[Node]:
        if entry.request_since != NEVER and self._kind != "datagram":
            ours = [due for due in dues if due[1] in ("Timeouts.request", "conn.request()")]
            due, origin = min(ours, key=lambda due: due[0], default=(math.inf, ""))
            yield Node(
                kind="request",
                age=self._now - entry.request_since,
                due=_left(due, self._now),
                due_to=origin if due < math.inf else "",
            )
        thread = getattr(entry, "thread", None)
        if thread is not None:
            # Of a compat server: its handler runs in a thread, which is a guest in the tree.
            names = {one.ident: one.name for one in threading.enumerate()}
            yield Node(kind="thread", name=names.get(thread, str(thread)), where=innermost(entry.stack()))


def _left(due: float, now: float) -> float | None:
    return None if due == math.inf else due - now


def innermost(stack: Sequence[str]) -> str:
    """Return the innermost place that is neither the standard library's, nor trio's, nor ours."""
    for line in reversed(stack):
        own = "-packages" + os.sep in line or not line.startswith(_STDLIB)
        if own and not line.startswith(_FOREIGN):
            return os.path.basename(line)
    return ""
