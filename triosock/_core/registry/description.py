"""How a server describes itself: its registry as nodes of the tree that `snapshot` returns.

The rules:

1. **Inspection changes nothing**: no await, no event, no write. It costs nothing while it is not used, since
   the registry has all that is needed.
2. **A deadline has an origin.** Several may be in force at once: timeouts of the server, the block
   `conn.request()`, the grace of a drain, cancel scopes around. The earliest is the effective one, and
   `due_to` names it.
"""

from __future__ import annotations

import math
import os
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias, final

import attrs
import trio

from ..model.addresses import Address
from ..model.config import Timeouts
from ..model.events import Cause
from ..model.node import Node
from .registry import NEVER, Entry, Registry
from .timeout_monitor import next_deadline

#: A deadline on trio's clock, inf for none, and its origin.
Due: TypeAlias = tuple[float, str]

ORIGINS: Final[Mapping[Cause, str]] = {
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
@attrs.frozen
class SnapshotOptions:
    """The time of a snapshot, on trio's clock, and the number of connections to describe of each server."""

    now: float
    limit: int

    def left(self, due: float) -> float | None:
        """Return how many seconds are left until `due`; None if that is never."""
        return None if due == math.inf else due - self.now


def no_block(_: Entry) -> trio.CancelScope | None:
    """There is no block `conn.request()` where there is no connection."""
    return None


@final
@attrs.frozen(kw_only=True)
class EntryView:
    """What a server knows about all of its entries."""

    kind: Literal["connection", "session", "datagram"] = "connection"
    #: None for a server whose entries have none (compat).
    timeouts: Timeouts | None = None
    #: Where each deadline of the timeouts comes from.
    origins: Mapping[Cause, str] = ORIGINS
    #: How long each may last, from its accept on (`Policy.request_timeout` of compat).
    lifetime: float = math.inf
    #: The innermost block `conn.request()` that an entry is in.
    block_of: Callable[[Entry], trio.CancelScope | None] = no_block

    def describe(self, entry: Entry, around: Due, look: SnapshotOptions) -> Node:
        """Return the node of one entry; `around` is the deadline of its server."""
        dues = [around, *self._dues(entry)]
        due, origin = min(dues, key=lambda due: due[0])
        return Node(
            kind=self.kind,
            name=str(entry.number),
            state=entry.phase,
            peer=str(entry.peer),
            age=look.now - entry.accepted,
            due=look.left(due),
            due_to=origin if due < math.inf else "",
            where=innermost(entry.stack()),
            children=tuple(self._inside(entry, dues, look)),
        )

    def _dues(self, entry: Entry) -> Iterator[Due]:
        if self.timeouts is not None:
            when, cause = next_deadline(entry, self.timeouts)
            if cause is not None:
                yield when, self.origins[cause]
        yield (
            entry.scope.deadline,
            "Timeouts.request" if self.kind != "connection" else "the connection's scope",
        )
        if self.lifetime < math.inf:
            yield entry.accepted + self.lifetime, "Policy.request_timeout"
        block = self.block_of(entry)
        if block is not None:
            yield block.deadline, "conn.request()"

    def _inside(self, entry: Entry, dues: list[Due], look: SnapshotOptions) -> Iterator[Node]:
        if entry.request_since != NEVER and self.kind != "datagram":
            ours = [due for due in dues if due[1] in ("Timeouts.request", "conn.request()")]
            due, origin = min(ours, key=lambda due: due[0], default=(math.inf, ""))
            yield Node(
                kind="request",
                age=look.now - entry.request_since,
                due=look.left(due),
                due_to=origin if due < math.inf else "",
            )
        thread = entry.handler_thread()
        if thread is not None:
            # A request of a compat server: its handler runs in a thread.
            names = {one.ident: one.name for one in threading.enumerate()}
            yield Node(kind="thread", name=names.get(thread, str(thread)), where=innermost(entry.stack()))


@final
@attrs.frozen(kw_only=True)
class ServerView:
    """What a server reports about itself."""

    name: str
    state: Literal["serving", "suspended", "draining"]
    #: When it began, and the deadline of the cancel scopes around it, on trio's clock.
    since: float
    around: float
    registry: Registry
    entries: EntryView
    listeners: Iterable[Node]

    def describe(self, look: SnapshotOptions, grace: Due, inside: Iterable[Node]) -> Node:
        """Return its node. `grace` is that of its drain, `inside` are the scopes and servers in its scope."""
        registry, entries = self.registry, self.registry.entries()
        around = grace
        if self.around < grace[0]:
            around = self.around, "a cancel scope around the server"
        due, origin = around
        described = (self.entries.describe(entry, around, look) for entry in entries[: look.limit])
        return Node(
            kind="server",
            name=self.name,
            state=self.state,
            age=look.now - self.since,
            due=look.left(due),
            due_to=origin,
            counts=(
                ("active", registry.active),
                ("idle", registry.count_idle()),
                ("accepted", registry.tally.accepted),
                ("refused", sum(registry.tally.refused.values())),
            ),
            more=max(0, len(entries) - look.limit),
            children=(*self.listeners, *described, *inside),
        )


def describe_listener(address: Address, *, is_closed: bool, is_suspended: bool = False) -> Node:
    """Return the node of a listener."""
    state = "closed" if is_closed else "suspended" if is_suspended else "open"
    return Node(kind="listener", name=str(address), state=state)


def innermost(stack: Sequence[str]) -> str:
    """Return the innermost call that is not in the standard library, trio or triosock."""
    for line in reversed(stack):
        own = "-packages" + os.sep in line or not line.startswith(_STDLIB)
        if own and not line.startswith(_FOREIGN):
            return os.path.basename(line)
    return ""
