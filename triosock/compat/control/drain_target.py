"""The drain target of a compat server: its loops, requests and child processes. The core's `DrainRun` drains
it as it drains a registry.

Rules of this file:

1. The serving loops are told to accept what the kernel has accepted, close the listener and end; they do it
   in their own threads.
2. The server is empty when no loop runs, no request is handled or expected, and no child process is left.
3. **A report does not wait for what cannot be ended.** A request that still runs `PATIENCE` seconds after the
   cut is blocked outside its socket, or keeps catching the exception: it is counted, described and not waited
   for.
4. The caller's own request, if a handler drains its own server, is not waited for.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import attrs
import trio

from triosock import Cause, DrainReport, DrainScope, MemoryAddress, Timeouts
from triosock._core.model.events import DrainFinished, DrainStarted
from triosock._core.registry.drain_run import NEWCOMER_GRACE, DrainRun
from triosock._core.registry.registry import Entry, Tally

from ..bridge.request_entry import Request
from ..requests.table import REQUEST
from ..waiting import poll
from ..waiting.wakeup import open_child_ends

if TYPE_CHECKING:
    from triosock._core.model.addresses import Address

    from ..requests.ports import RequestEntry
    from ..requests.table import RequestTable
    from ..stdlib.base import BaseServer

#: How long handlers may take to end after the cut, before the report is made, in seconds.
PATIENCE = 1.0


@attrs.define(eq=False, slots=True, kw_only=True)
class Child(Entry):
    """A child process of a forking server. Whether it is idle is not known; it is terminated and not cut."""

    pid: int
    cause: Cause | None = None

    @property
    def peer(self) -> Address:
        """The process id, as an address."""
        return MemoryAddress(f"child process {self.pid}")

    def interrupt(self, cause: Cause) -> None:
        """Nothing: a child process has no idle wait that could be ended."""

    def cut(self, cause: Cause) -> None:
        """Terminate it."""
        if self.cause is None:
            self.cause = cause
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass

    def stack(self) -> tuple[str, ...]:
        """No stack: it is another process."""
        return ()


class DrainTarget:
    """One drain of one server; lives in the trio thread. A core `Drainable`."""

    def __init__(
        self, server: BaseServer, request_table: RequestTable, scope: DrainScope, besides: int | None = None
    ) -> None:
        self._server = server
        self._request_table = request_table
        self._scope = scope
        self._besides = besides
        self._children: dict[int, Child] = {}
        self._watched: set[int] = set()
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._run: DrainRun | None = None

    # The interface for DrainRun

    @property
    def tally(self) -> Tally:
        """What the server has counted."""
        return self._request_table.tally()

    def entries(self) -> tuple[Entry, ...]:
        """Return the requests and children, without the caller's own request."""
        request_table = self._request_table
        with request_table.lock:
            requests = request_table.registry.entries()
        others = (one for one in requests if isinstance(one, Request) and one.thread != self._besides)
        return (*others, *self._children.values())

    async def wait_empty(self) -> None:
        """Return when none is left, or `PATIENCE` seconds after the cut. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while not self._is_empty():
            self._changed = trio.Event()
            # Computed each time, since the deadline can be tightened meanwhile.
            with trio.CancelScope(deadline=self._scope.deadline + PATIENCE) as patience:
                await self._changed.wait()
            if patience.cancelled_caught:
                return

    def _is_empty(self) -> bool:
        request_table = self._request_table
        if poll.servings_of(self._server):
            return False
        # The loop may have forked more children before it ended.
        self._watch_children()
        if self._children:
            return False
        with request_table.lock:
            own = request_table.live.get(self._besides) if self._besides is not None else None
            expected = len(request_table.expected) - (
                own is not None and id(own[REQUEST]) in request_table.expected
            )
            return not expected and len(request_table.live) == (own is not None)

    def poke(self) -> None:
        """Have `wait_empty()` check again."""
        self._changed.set()

    # The drain

    async def drain(self) -> DrainReport:
        """Drain; return the report. The scope is draining already, and the request table is supervised."""
        request_table = self._request_table
        now = trio.current_time()
        entries = self.entries()
        is_told = request_table.emitter is not None and request_table.emitter.takers(DrainStarted)
        idle = sum(entry.is_idle for entry in entries) if is_told else 0
        grace = max(0.0, self._scope.deadline - now)
        self._run = DrainRun(self, self._scope)
        request_table.tell(DrainStarted, grace=grace, active=len(entries), idle=idle)
        request_table.on_leave, request_table.is_poked = self.poke, False
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    request_table.on_newcomer = self._greet
                    self._watch_children()
                    for serving in poll.servings_of(self._server):
                        serving.drain()
                    await self._run.wait_completion()
                    self._count_stuck()
                    nursery.cancel_scope.cancel(reason="triosock: the drain is over")
                finally:
                    self._nursery = None
        finally:
            request_table.on_newcomer = request_table.on_leave = None
        report = self._run.report()
        fields = ("finished", "failed", "left", "cancelled", "refused", "duration")
        request_table.tell(DrainFinished, **{name: getattr(report, name) for name in fields})
        return report

    def tighten(self) -> None:
        """Take over the scope's deadline, if the drain has begun."""
        if self._run is not None:
            self._run.tighten()

    def cut_all(self, cause: Cause) -> None:
        """Cut all requests, now."""
        for entry in self.entries():
            entry.cut(cause)
        for pid in tuple(getattr(self._server, "active_children", None) or ()):
            Child(accepted=trio.current_time(), pid=pid).cut(cause)

    async def end_children(self, cause: Cause) -> None:
        """Terminate the remaining child processes, and kill those that still run after `PATIENCE` seconds.
        Called when no loop runs that could fork more.
        """
        children = frozenset(getattr(self._server, "active_children", None) or ())
        for pid in children:
            Child(accepted=trio.current_time(), pid=pid).cut(cause)
        ends = open_child_ends(children)
        try:
            with trio.move_on_after(PATIENCE) as patience:
                for end in ends:
                    await trio.lowlevel.wait_readable(end)
            if patience.cancelled_caught and sys.platform != "win32":
                # It handles or ignores SIGTERM, perhaps by a handler inherited from its parent.
                for pid in ends.values():
                    os.kill(pid, signal.SIGKILL)
        finally:
            for end in ends:
                os.close(end)

    async def wait_all_left(self) -> None:
        """Return when none is left, without a limit of time. A checkpoint."""
        self._request_table.on_leave, self._request_table.is_poked = self.poke, False
        try:
            await trio.lowlevel.checkpoint()
            while not self._is_empty():
                self._changed = trio.Event()
                await self._changed.wait()
        finally:
            self._request_table.on_leave = None

    def _greet(self, entry: RequestEntry) -> None:
        # The thread of a request reports it; the trio thread may see that when request and drain are over.
        if self._nursery is not None:
            self._nursery.start_soon(self._watch_newcomer, entry)

    async def _watch_newcomer(self, entry: RequestEntry) -> None:
        await trio.sleep(NEWCOMER_GRACE)
        entry.spared_until = 0.0
        entry.interrupt(Cause.DRAIN)

    def _count_stuck(self) -> None:
        tally = self.tally
        with self._request_table.lock:
            for request in self._request_table.registry.entries():
                if isinstance(request, Request) and request.thread != self._besides and not request.reported:
                    request.reported = True
                    tally.ended[request.cause or Cause.DRAIN] += 1

    # Child processes

    def _watch_children(self) -> None:
        if sys.platform == "win32" or self._nursery is None:
            return
        children: set[int] = getattr(self._server, "active_children", None) or set()
        pids = children - self._watched
        self._watched |= pids
        for end, pid in open_child_ends(pids).items():
            self._children[pid] = Child(accepted=trio.current_time(), pid=pid)
            self._nursery.start_soon(self._wait_child, end, pid)

    async def _wait_child(self, end: int, pid: int) -> None:
        # Not reaped here: collect_children() does that, in the thread that calls server_close().
        try:
            await trio.lowlevel.wait_readable(end)
        finally:
            os.close(end)
        child = self._children.pop(pid)
        self.tally.ended[child.cause or Cause.FINISHED] += 1
        self.poke()


def scope_for(request_table: RequestTable, grace: float | None = None) -> DrainScope:
    """Return the scope of a server's drain, with the grace given, the policy's, or the default."""
    if grace is None:
        grace = Timeouts().grace if request_table.policy is None else request_table.policy.grace
    return DrainScope(grace=grace)
