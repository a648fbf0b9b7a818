"""The interface that all servers share: `drain`, `suspend`, `statistics`, `wait_closed`.

The invariants:

1. **`drain`, `suspend` and `resume` only request**: they return at once, and the server's own task does the
   work.
2. **`wait_closed` returns when nothing is left**: a server calls `_conclude` once, as its last step.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import trio

from ..listeners.gate import Gate
from ..model.addresses import Address
from ..model.config import Limits, Timeouts
from ..model.emitter import Emitter
from ..model.events import (
    Cause,
    DrainAnnounced,
    DrainFinished,
    DrainStarted,
    ServerClosed,
    ServerResumed,
    ServerSuspended,
)
from ..model.node import Node
from ..model.trio_thread import check_trio_thread
from ..registry.description import EntryView, ServerView, SnapshotOptions, describe_listener
from ..registry.drain_report import DrainReport
from ..registry.drain_run import DrainRun
from ..registry.drain_scope import DrainScope, describe_inside, grace_of
from ..registry.registry import Entry
from .handler_run import Common


class Source(Protocol):
    """What a server receives from: a listener or a datagram socket."""

    @property
    def address(self) -> Address:
        """Where it listens."""
        raise NotImplementedError

    @property
    def is_closed(self) -> bool:
        """Whether it is closed."""
        raise NotImplementedError


#: What its `statistics()` returns.
Statistics_co = TypeVar("Statistics_co", covariant=True)


class Server(abc.ABC, Generic[Statistics_co]):
    """What stream and datagram servers have in common. Users see `StreamServer` and `DatagramServer`.

    All methods must be called in the trio thread. All but `wait_closed` are synchronous and return at once.
    """

    def __init__(self, common: Common) -> None:
        self._common = common
        self._registry = common.registry
        self._emitter = common.emitter
        self._gate = Gate()
        self._scope = DrainScope(grace=common.timeouts.grace, idle_grace=common.timeouts.idle_grace)
        self._scope.on_drain = self.on_drain
        self._scope.owner = self
        #: The accept loops run in it. A datagram server's receive loop does not, since it is needed to the
        #: end.
        self._accepting = trio.CancelScope()
        # For `describe`: trio cannot tell later the deadline of the scopes around a task.
        self._since = trio.current_time()
        self._around = trio.current_effective_deadline()
        self._announced = False
        self._drain_run: DrainRun | None = None
        self._closed = trio.Event()
        self._report = DrainReport(drained=False)

    def __repr__(self) -> str:
        return f"<triosock.{type(self).__name__} {self.name!r}, {self._registry.active} active>"

    @property
    def name(self) -> str:
        """Its name in events and logs."""
        return self._emitter.name

    @property
    @abc.abstractmethod
    def addresses(self) -> tuple[Address, ...]:
        """Where it listens, with the ports that the kernel chose."""

    @abc.abstractmethod
    def statistics(self) -> Statistics_co:
        """Return a frozen snapshot."""

    @property
    def limits(self) -> Limits:
        """Its `Limits`."""
        return self._common.limits

    @property
    def timeouts(self) -> Timeouts:
        """Its `Timeouts`."""
        return self._common.timeouts

    @property
    def observers(self) -> Emitter:
        """Its observers; `observers.add(…)` and `observers.remove(…)` work while it runs."""
        return self._emitter

    @property
    def draining(self) -> bool:
        """Whether `drain()` was called; True also during the delay."""
        return self._scope.draining

    def drain(
        self, *, grace: float | None = None, idle_grace: float | None = None, delay: float | None = None
    ) -> None:
        """Begin a drain: accept no more, end idle waits, let busy handlers finish for `grace` seconds, and
        cancel the rest. A connection that has sent nothing yet may send its first request until it is five
        seconds old.

        Returns at once; `wait_closed()` waits for the end. A second call can only shorten the times. After
        the end of the server it does nothing.

        Args:
          grace: seconds from 0 on, inf for no limit; None for `Timeouts.grace`.
          idle_grace: seconds from 0 on, from the beginning of the drain, in which each connection may have
            one more request answered before it ends, instead of ending at once when it is idle; None for
            `Timeouts.idle_grace`. Datagram servers ignore it.
          delay: seconds from 0 on until the drain begins. Meanwhile the server goes on as before, but
            `draining` (its own, its connections', `triosock.draining()`) is True. None for 0.

        Raises: TypeError, ValueError, which name the argument; RuntimeError outside the trio thread; its text
        says how to call it from there.
        """
        self._scope.drain(grace=grace, idle_grace=idle_grace, delay=delay)

    async def wait_closed(self) -> DrainReport:
        """Wait until nothing of the server is left, and return its `DrainReport`. A checkpoint; cancelling it
        cancels only the wait.
        """
        await self._closed.wait()
        return self._report

    def suspend(self) -> None:
        """Accept (or receive) nothing until `resume()`. What arrives waits in the kernel; running handlers go
        on. Raises: RuntimeError outside the trio thread.
        """
        check_trio_thread("suspend")
        if self._gate.is_open:
            self._gate.shut()
            self._emitter.emit(ServerSuspended)

    def resume(self) -> None:
        """Accept (or receive) again, what has waited first. Raises: RuntimeError outside the trio thread."""
        check_trio_thread("resume")
        if not self._gate.is_open:
            self._gate.open()
            self._emitter.emit(ServerResumed)

    def on_drain(self) -> None:
        """Act on a call of `drain()`, the first or a later one. Called synchronously by the scope."""
        begins, now = self._scope.begins, trio.current_time()
        if self._drain_run is not None:
            self._drain_run.tighten()
        elif begins <= now:
            self._accepting.cancel(reason="triosock: drain")
        else:
            self._accepting.deadline = begins
            if not self._announced:
                self._announced = True
                self._emitter.emit(DrainAnnounced, delay=begins - now)

    def _check_may_look(self) -> None:
        """Raise RuntimeError outside the trio thread, while the server may change."""
        if not self._closed.is_set():
            check_trio_thread("statistics")

    def note_timeouts(self, entry: Entry) -> None:
        """The timeouts of a connection have changed."""

    def entries(self) -> tuple[Entry, ...]:
        """Return what is served now. For inspection."""
        return self._registry.entries()

    def why_not_ready(self) -> str:
        """Return why it should get no more clients: "draining" (also during the delay of a drain),
        "suspended", "full"; "" if it is ready. Health ports report it.
        """
        if self.draining:
            return "draining"
        if not self._gate.is_open:
            return "suspended"
        return "" if self._registry.has_room else "full"

    def describe(self, look: SnapshotOptions) -> Node:
        """Return the node of this server and what it serves. For inspection."""
        is_suspended = not self._gate.is_open
        view = ServerView(
            name=self.name,
            state="draining" if self.draining else "suspended" if is_suspended else "serving",
            since=self._since,
            around=self._around,
            registry=self._registry,
            entries=self._entry_view(),
            listeners=[
                describe_listener(one.address, is_closed=one.is_closed, is_suspended=is_suspended)
                for one in self._sources()
            ],
        )
        return view.describe(look, grace_of(self._scope), describe_inside(self._scope, look))

    @abc.abstractmethod
    def _sources(self) -> Sequence[Source]:
        """Return its listeners or sockets."""

    def _entry_view(self) -> EntryView:
        """Return how its entries are described."""
        return EntryView(timeouts=self.timeouts)

    def _begin_drain(self) -> DrainRun:
        """Create the drain run and emit `DrainStarted`."""
        registry = self._registry
        self._drain_run = DrainRun(registry, self._scope)
        self._emitter.emit(
            DrainStarted,
            grace=max(0.0, self._scope.deadline - trio.current_time()),
            active=registry.active,
            idle=registry.count_idle(),
        )
        return self._drain_run

    def _conclude(self, *, drained: bool) -> None:
        if self._drain_run is not None:
            self._report = self._drain_run.report(drained=drained)
        else:
            self._report = DrainReport(cancelled=self._registry.tally.ended[Cause.PARENT], drained=False)
        if drained:
            report = self._report
            self._emitter.emit(
                DrainFinished,
                finished=report.finished,
                failed=report.failed,
                left=report.left,
                cancelled=report.cancelled,
                refused=report.refused,
                duration=report.duration,
            )
        self._emitter.emit(ServerClosed)
        # The log has an event for it, without those that were cut last.
        is_told = drained and not self._report.slowest
        self._scope._record(self.name, self._report, "triosock" if is_told else None)
        self._closed.set()
