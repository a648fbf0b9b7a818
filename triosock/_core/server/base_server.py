"""What every server is from outside, whatever it serves: told to drain, asked how it is, waited for.

The invariants:

1. **Told is not done**: `drain`, `suspend` and `resume` return at once; the server's own task does the work.
2. **`wait_closed` returns when nothing is left**, for `_conclude` is the last thing that a server does, and
   it does it once.
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
from ..registry.description import EntryView, Look, ServerView, describe_listener
from ..registry.drain_report import DrainReport
from ..registry.drain_run import DrainRun
from ..registry.drain_scope import DrainScope, describe_inside, grace_of
from ..registry.registry import Entry
from .handler_run import Common


class Source(Protocol):
    """What a server receives by: a listener, or a socket of datagrams."""

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
    """What stream and datagram servers have in common. Not for users: they see `StreamServer` and
    `DatagramServer`.

    All methods belong to the trio program's own thread; all but `wait_closed` are synchronous, and none of
    these waits.
    """

    def __init__(self, common: Common) -> None:
        self._common = common
        self._registry = common.registry
        self._emitter = common.emitter
        self._gate = Gate()
        self._scope = DrainScope(grace=common.timeouts.grace, idle_grace=common.timeouts.idle_grace)
        self._scope.on_drain = self.on_drain
        self._scope.owner = self
        #: What takes on new peers runs in it; that of a datagram server does not, which is needed to the end.
        self._accepting = trio.CancelScope()
        # To be described: nobody can ask later for the deadlines of the scopes around a task.
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
        """What events and logs call it."""
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
        """How much it takes on."""
        return self._common.limits

    @property
    def timeouts(self) -> Timeouts:
        """How long it waits."""
        return self._common.timeouts

    @property
    def observers(self) -> Emitter:
        """Those who are told; `observers.add(…)` and `observers.remove(…)` work while it runs."""
        return self._emitter

    @property
    def draining(self) -> bool:
        """Whether it was told to drain; also during the delay of the drain."""
        return self._scope.draining

    def drain(
        self, *, grace: float | None = None, idle_grace: float | None = None, delay: float | None = None
    ) -> None:
        """Tell the server to drain: take on nobody new, end the idle, let the busy finish for `grace`
        seconds, cut the rest. A connection on which nothing has come yet may send its first request until it
        is five seconds old.

        It only tells; `wait_closed()` waits. Told again, it can only tighten. After the end it does nothing.

        Args:
          grace: seconds from 0 on, inf for no end; None for `Timeouts.grace`.
          idle_grace: seconds from 0 on, from the beginning of the drain, in which each connection may have
            one more request answered before it ends, instead of ending at once when it is idle; None for
            `Timeouts.idle_grace`. Datagram servers have no use for it.
          delay: seconds from 0 on until the drain begins; meanwhile the server goes on as before, while
            `draining` (its own, its connections', `triosock.draining()`) tells already. None for 0.

        Raises: TypeError, ValueError, which name the argument.
        """
        self._scope.drain(grace=grace, idle_grace=idle_grace, delay=delay)

    async def wait_closed(self) -> DrainReport:
        """Return when nothing of the server is left, and how it ended. A checkpoint; cancelling it cancels
        only the wait.
        """
        await self._closed.wait()
        return self._report

    def suspend(self) -> None:
        """Take nothing from the kernel until `resume()`. What comes waits there; who is inside is not
        touched.
        """
        if self._gate.is_open:
            self._gate.shut()
            self._emitter.emit(ServerSuspended)

    def resume(self) -> None:
        """Go on, with what has waited first."""
        if not self._gate.is_open:
            self._gate.open()
            self._emitter.emit(ServerResumed)

    def on_drain(self) -> None:
        """A drain was told, for the first time or again. Called by the scope, at once."""
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

    def note_timeouts(self, entry: Entry) -> None:
        """The timeouts of a connection have changed."""

    def entries(self) -> tuple[Entry, ...]:
        """Return what is served now. For those who look from outside."""
        return self._registry.entries()

    def why_not_ready(self) -> str:
        """Return why it should be sent no more clients: "draining" (also during the delay of a drain),
        "suspended", "full"; "" if it is ready for them. Health ports tell it.
        """
        if self.draining:
            return "draining"
        if not self._gate.is_open:
            return "suspended"
        return "" if self._registry.has_room else "full"

    def describe(self, look: Look) -> Node:
        """Return what lives in it. For those who look from outside."""
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
        """Return what it receives by."""

    def _entry_view(self) -> EntryView:
        """Return how its entries are described."""
        return EntryView(timeouts=self.timeouts)

    def _begin_drain(self) -> DrainRun:
        """Say that the drain begins."""
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
        self._scope._record(self.name, self._report)
        self._closed.set()
