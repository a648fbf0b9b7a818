"""Drain scopes. A drain stops accepting, ends idle waits, waits for the rest, and cancels what still runs at
its deadline.

The invariants:

1. **A drain can only tighten.** It begins once; a second call can move its deadline to an earlier time and
   never to a later one.
2. **A drain reaches everything inside.** Scopes nest like trio's cancel scopes, by the context that tasks
   inherit: draining a scope drains all that was entered within it, the last first, and what is entered within
   a draining scope drains from its start.
3. **`drain()` is synchronous.** It returns at once, and each server does the work in its own task.
"""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, final

import trio

from ..model.checks import check_seconds
from ..model.emitter import Emitter
from ..model.misuse import write
from ..model.node import Node
from ..model.trio_thread import check_trio_thread
from .description import Due, SnapshotOptions
from .drain_report import DrainReport
from .registry import Entry

#: The scopes of this trio run that are in no other: the top of the tree that `snapshot` returns.
_roots: trio.lowlevel.RunVar[dict[DrainScope, None]] = trio.lowlevel.RunVar("triosock_drain_roots")

_current: contextvars.ContextVar[DrainScope | None] = contextvars.ContextVar(
    "triosock_drain_scope", default=None
)


class ScopeOwner(Protocol):
    """A server as its scope, inspection and control sockets see it."""

    @property
    def name(self) -> str:
        """Its name in events and reports."""
        raise NotImplementedError

    @property
    def observers(self) -> Emitter:
        """Its observers."""
        raise NotImplementedError

    def drain(self) -> None:
        """Begin its drain."""

    def why_not_ready(self) -> str:
        """Return why it accepts no more: "draining", "suspended", "full"; "" if it does accept."""
        raise NotImplementedError

    def entries(self) -> tuple[Entry, ...]:
        """Return what it serves now."""
        raise NotImplementedError

    def describe(self, look: SnapshotOptions) -> Node:
        """Return its node with what it serves."""
        raise NotImplementedError


@final
class DrainScope:
    """A block whose servers drain together. Nests like `trio.CancelScope`::

        with triosock.DrainScope() as scope:
            ...                 # servers started in here, in any task, belong to the scope
            scope.drain(grace=10)

    Args: `grace`, `idle_grace` and `delay` are the defaults of `drain()`, in seconds. None leaves the first
    two to each server (`Timeouts.grace`, `Timeouts.idle_grace`); without `delay` a drain begins at once.

    Leaving the block waits for nothing. The servers in it are tasks, for which their nurseries wait.
    """

    def __init__(
        self, *, grace: float | None = None, idle_grace: float | None = None, delay: float | None = None
    ) -> None:
        self._default = _seconds_or_none(grace, "grace")
        self._default_idle = _seconds_or_none(idle_grace, "idle_grace")
        self._default_delay = _seconds_or_none(delay, "delay") or 0.0
        self._parent: DrainScope | None = None
        self._children: dict[DrainScope, None] = {}  # in the order in which they were entered
        self._told = trio.Event()
        self._begins = math.inf
        #: Seconds from the beginning of the drain, and no deadline: a later call may move the beginning.
        self._grace = math.inf
        self._idle_grace: float | None = None
        self._delaying: dict[trio.CancelScope, None] = {}  # of the tasks that wait for its beginning
        #: The server that this scope belongs to, which sets it; None for a scope of the user's.
        self.owner: ScopeOwner | None = None
        #: Called synchronously by each call of `drain()`. Set by the owner.
        self.on_drain: Callable[[], None] | None = None
        self._token: contextvars.Token[DrainScope | None] | None = None
        self._is_left = False
        self._left: trio.Event | None = None
        self._recorded: list[tuple[str, DrainReport, str | None]] = []

    if not TYPE_CHECKING:  # see misuse.py
        __aenter__ = write("with triosock.DrainScope() as scope:")
        __aexit__ = write("with triosock.DrainScope() as scope:")

    def __enter__(self) -> DrainScope:
        if self._token is not None:
            raise RuntimeError("this DrainScope has been entered already: make another one")
        self._parent = _current.get()
        self._token = _current.set(self)
        self._link()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        _current.reset(self._token)
        self._is_left = True
        self._unlink_if_over()

    # Servers may outlive the block of their scope, and tasks that inherited it may start others later. A
    # drain of the scope or its parents must reach them too.

    def _link(self) -> None:
        parent = self._parent
        if parent is None:
            _roots_here()[self] = None
            return
        parent._link()
        parent._children[self] = None
        if parent.draining and not self.draining:
            grace = parent._grace if parent._grace < math.inf else None
            self._tell(parent._begins, grace, parent._idle_grace)

    def _unlink_if_over(self) -> None:
        if not self._is_left or self._children:
            return
        if self._parent is None:
            _roots_here().pop(self, None)
        else:
            self._parent._forget(self)

    def _forget(self, child: DrainScope) -> None:
        self._children.pop(child, None)
        self._unlink_if_over()
        if not self._children and self._left is not None:
            self._left.set()
            self._left = None

    @property
    def draining(self) -> bool:
        """Whether `drain()` was called on this scope or on one around it; True also during the delay."""
        return self._told.is_set()

    @property
    def begins(self) -> float:
        """When the drain begins, after its delay, on trio's clock; inf before `drain()`."""
        return self._begins

    @property
    def deadline(self) -> float:
        """When the grace period is over, on trio's clock; inf before, or if each server has its own."""
        return self._begins + self._grace

    @property
    def grace(self) -> float:
        """How long the grace period is, in seconds from the beginning of the drain; inf as for `deadline`."""
        return self._grace

    @property
    def idle_grace(self) -> float:
        """How long after the beginning of the drain one more request is waited for, in seconds."""
        return self._idle_grace or 0.0

    def drain(
        self, *, grace: float | None = None, idle_grace: float | None = None, delay: float | None = None
    ) -> None:
        """Begin a drain of everything in this scope, what was entered last first. Returns at once; a second
        call can only shorten the times.

        Args:
          grace: seconds, from 0 on, from the beginning of the drain until busy handlers are cancelled; inf
            for no limit; None for the default of this scope or, without one, each server's own.
          idle_grace: seconds, from 0 on, from the beginning of the drain, in which each connection may have
            one more request answered before it ends; None likewise.
          delay: seconds, from 0 on, until the drain begins. Meanwhile everything goes on, new connections
            included, but `draining` is True: a load balancer that asks can send its clients elsewhere first.
            None for the default of this scope, or 0.

        Raises: TypeError, ValueError; RuntimeError outside the trio thread.
        """
        seconds = self._default if grace is None else check_seconds(grace, "grace", zero=True)
        idle = (
            self._default_idle if idle_grace is None else check_seconds(idle_grace, "idle_grace", zero=True)
        )
        wait = self._default_delay if delay is None else check_seconds(delay, "delay", zero=True)
        check_trio_thread("drain")
        self._tell(trio.current_time() + wait, seconds, idle)

    def _tell(self, begins: float, grace: float | None, idle_grace: float | None) -> None:
        """None for `grace` or `idle_grace`: scopes that do not drain yet take their own defaults."""
        if not self.draining:
            self._begins = begins
            if grace is None:
                grace = self._default
            self._idle_grace = self._default_idle if idle_grace is None else idle_grace
        else:
            # From an earlier beginning the grace period stays as long as it was.
            self._begins = min(self._begins, begins)
            if idle_grace is not None:
                self._idle_grace = min(self.idle_grace, idle_grace)
        if grace is not None:
            later = begins - self._begins if begins > self._begins else 0.0
            self._grace = min(self._grace, later + grace)
        self._told.set()
        for delaying in self._delaying:
            delaying.deadline = self._begins
        if self.on_drain is not None:
            self.on_drain()
        for child in reversed(tuple(self._children)):
            child._tell(begins, grace, idle_grace)

    async def wait_begun(self) -> None:
        """Return when the drain of this scope has begun: `drain()` was called, and the delay is over. A
        checkpoint.
        """
        await self._told.wait()
        with trio.CancelScope(deadline=self._begins) as delaying:
            self._delaying[delaying] = None
            try:
                await trio.sleep_forever()
            finally:
                del self._delaying[delaying]

    async def wait_draining(self) -> None:
        """Return when this scope is draining. A checkpoint."""
        await self._told.wait()

    async def wait_left(self) -> None:
        """Return when no server and no other scope is inside. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self._children:
            if self._left is None:
                self._left = trio.Event()
            await self._left.wait()

    @property
    def reports(self) -> tuple[tuple[str, DrainReport], ...]:
        """The names and reports of the servers inside that a drain of this scope has ended, in the order of
        their ends.
        """
        return tuple((name, report) for name, report, _ in self._recorded)

    @property
    def recorded(self) -> tuple[tuple[str, DrainReport, str | None], ...]:
        """The same, and the logger that got all of the report at INFO; None for none."""
        return tuple(self._recorded)

    def _record(self, name: str, report: DrainReport, logger: str | None = None) -> None:
        if self.draining:
            self._recorded.append((name, report, logger))
            if self._parent is not None:
                self._parent._record(name, report, logger)


def scope_around() -> DrainScope | None:
    """Return the innermost `DrainScope` around the caller; None without one."""
    return _current.get()


def leave_scopes() -> None:
    """Detach the calling task, and those that it starts later, from its scopes: what they open does not drain
    with them.
    """
    _current.set(None)


def _seconds_or_none(value: float | None, argument: str) -> float | None:
    return None if value is None else check_seconds(value, argument, zero=True)


def _roots_here() -> dict[DrainScope, None]:
    """The outermost scopes of this trio run. One that is entered outside of any run belongs to none."""
    try:
        return _roots.get()
    except LookupError:
        roots: dict[DrainScope, None] = {}
        _roots.set(roots)
        return roots
    except RuntimeError:
        return {}


def outermost_scopes() -> Iterable[DrainScope]:
    """Return the outermost scopes of this run, and the one around the caller that was entered before the
    run.
    """
    roots = dict(_roots_here())
    around = _current.get()
    while around is not None and around._parent is not None:
        around = around._parent
    if around is not None:
        roots[around] = None
    return roots


def owners_in(scope: DrainScope) -> Iterator[ScopeOwner]:
    """Yield the servers in a scope: its owner, then those inside."""
    if scope.owner is not None:
        yield scope.owner
    for child in scope._children:
        yield from owners_in(child)


def describe_scope(scope: DrainScope, look: SnapshotOptions) -> Node:
    """Return the node of a scope; for the scope of a server, that of the server."""
    if scope.owner is not None:
        return scope.owner.describe(look)
    due, origin = grace_of(scope)
    return Node(
        kind="scope",
        name="DrainScope",
        state="draining" if scope.draining else "left" if scope._is_left else "open",
        due=look.left(due),
        due_to=origin,
        children=describe_inside(scope, look),
    )


def describe_inside(scope: DrainScope, look: SnapshotOptions) -> tuple[Node, ...]:
    """Return the nodes of the scopes inside a scope."""
    return tuple(describe_scope(child, look) for child in scope._children)


def grace_of(scope: DrainScope) -> Due:
    """Return when the grace period is over, and which drain it belongs to: that of the outermost scope with
    this deadline.
    """
    due = scope.deadline
    if due == math.inf:
        return math.inf, ""
    while scope._parent is not None and scope._parent.deadline == due:
        scope = scope._parent
    owner = f"server {scope.owner.name}" if scope.owner is not None else "the scope around"
    return due, f"grace: drain of {owner}"


def draining() -> bool:
    """Whether the server or `DrainScope` around the caller is draining; False without one."""
    scope = _current.get()
    return scope is not None and scope.draining


async def wait_draining() -> None:
    """Return when the server or `DrainScope` around the caller drains; never without one. A checkpoint."""
    scope = _current.get()
    if scope is None:
        await trio.sleep_forever()
    else:
        await scope.wait_draining()
