"""The drain target of a compat server: its loops, requests and child processes. The core's `DrainRun` drains
it as it drains a registry.

Rules of this file:

1. The serving loops accept the connections in the kernel's queue, close the listener and end, each in its own
   thread.
2. The server is empty when no loop runs, no request is handled or expected, and no child process is left.
3. **The report does not wait for requests that cannot be ended.** A request that still runs `CUT_TIMEOUT`
   seconds after the cut is blocked outside its socket, or catches the exception each time: it is counted and
   described. A loop that it blocks takes nothing more from the queue.
4. If a handler drains its own server, its own request is not waited for. As all others, it gets no further
   request.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import trio

from triosock import Cause, DrainReport, DrainScope, MemoryAddress, Timeouts
from triosock._core.model.events import DrainFinished, DrainStarted
from triosock._core.registry.drain_run import NEWCOMER_GRACE, DrainRun
from triosock._core.registry.registry import Entry, Tally

from ..bridge.addresses import peer_of
from ..bridge.request_entry import Request
from ..requests.handshakes import end as end_handshake
from ..requests.table import REQUEST
from ..waiting import poll
from ..waiting.wakeup import count_running, open_child_ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triosock._core.model.addresses import Address
    from triosock._core.registry.registry import Stage

    from ..requests.ports import RequestEntry
    from ..requests.table import RequestTable
    from ..stdlib.base import BaseServer

#: Seconds from the cut, or from SIGTERM to a child process, until the report is made, or the child is killed.
CUT_TIMEOUT = 1.0


@attrs.define(eq=False, slots=True, kw_only=True)
class Child(Entry):
    """A child process of a forking server. Whether it is idle is not known, and a cut is a SIGTERM."""

    pid: int
    cause: Cause | None = None

    @property
    def peer(self) -> Address:
        """The process id, as an address."""
        return MemoryAddress(f"child process {self.pid}")

    def interrupt(self, cause: Cause) -> None:
        """Do nothing: this process cannot end an idle wait of a child process."""

    def cut(self, cause: Cause) -> None:
        """Send SIGTERM."""
        if self.cause is None:
            self.cause = cause
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass

    def stack(self) -> tuple[str, ...]:
        """Return an empty stack, since it is another process."""
        return ()


@attrs.define(eq=False, slots=True, kw_only=True)
class Handshake(Entry):
    """A request that no handler has yet. Its handshake has a bound of its own, so only a cut ends it."""

    request: object
    address: Address
    stage: Stage = "handshake"

    @property
    def peer(self) -> Address:
        """The client's address."""
        return self.address

    def interrupt(self, cause: Cause) -> None:
        """Do nothing."""

    def cut(self, cause: Cause) -> None:
        """Have the handshake fail."""
        end_handshake(self.request)

    def stack(self) -> tuple[str, ...]:
        """Return an empty stack: no handler runs."""
        return ()


class DrainTarget:
    """One drain of one server, used in the trio thread. It implements the core's `Drainable`."""

    def __init__(
        self,
        server: BaseServer,
        request_table: RequestTable,
        scope: DrainScope,
        own_thread: int | None = None,
    ) -> None:
        self._server = server
        self._request_table = request_table
        self._scope = scope
        self._own_thread = own_thread
        self._children: dict[int, Child] = {}
        self._watched: set[int] = set()
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._run: DrainRun | None = None

    # The interface for DrainRun

    @property
    def tally(self) -> Tally:
        """The counts of the server."""
        return self._request_table.tally()

    def entries(self) -> tuple[Entry, ...]:
        """Return the requests, handshakes and children, without the caller's own request."""
        request_table = self._request_table
        with request_table.lock:
            requests = request_table.registry.entries()
        others = (one for one in requests if isinstance(one, Request) and one.thread != self._own_thread)
        return (*others, *self._handshakes(), *self._children.values())

    def _handshakes(self) -> Iterator[Handshake]:
        request_table = self._request_table
        clock = request_table.supervision.clock
        for request, since in tuple(request_table.handshakes.pending.values()):
            yield Handshake(accepted=since + clock, request=request, address=peer_of(request))

    async def wait_empty(self) -> None:
        """Return when none is left, or `CUT_TIMEOUT` seconds after the cut. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while not self._is_empty():
            self._changed = trio.Event()
            # Computed each time, since the deadline can be tightened.
            with trio.CancelScope(deadline=self._scope.deadline + CUT_TIMEOUT) as limit:
                await self._changed.wait()
            if limit.cancelled_caught:
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
            own = request_table.live.get(self._own_thread) if self._own_thread is not None else None
            expected = len(request_table.expected) - (
                own is not None and id(own[REQUEST]) in request_table.expected
            )
            return not expected and len(request_table.live) == (own is not None)

    def notify(self) -> None:
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
        request_table.emit(DrainStarted, grace=grace, active=len(entries), idle=idle)
        request_table.on_leave, request_table.is_notified = self.notify, False
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    request_table.on_newcomer = self._spare_newcomer
                    self._watch_children()
                    self._interrupt_own()
                    for serving in poll.servings_of(self._server):
                        serving.drain()
                    await self._run.wait_completion()
                    self._leave_stuck()
                    nursery.cancel_scope.cancel(reason="triosock: the drain is over")
                finally:
                    self._nursery = None
        finally:
            self._remove_callbacks()
        report = self._run.report()
        fields = ("finished", "failed", "left", "cancelled", "refused", "duration")
        request_table.emit(DrainFinished, **{name: getattr(report, name) for name in fields})
        return report

    def _interrupt_own(self) -> None:
        with self._request_table.lock:
            requests = self._request_table.registry.entries()
        for one in requests:
            if isinstance(one, Request) and one.thread == self._own_thread:
                one.interrupt(Cause.DRAIN)

    def _remove_callbacks(self) -> None:
        # Not those of the next drain, which may begin before an interrupted one has ended.
        request_table = self._request_table
        if request_table.on_newcomer == self._spare_newcomer:
            request_table.on_newcomer = None
        if request_table.on_leave == self.notify:
            request_table.on_leave = None
        request_table.handshakes.is_over = False

    def tighten(self) -> None:
        """Apply the deadline of the scope, if the drain has begun."""
        if self._run is not None:
            self._run.tighten()

    def cut_requests(self, cause: Cause) -> None:
        """Cut all requests, now, and the handshakes of later ones. Those that were cut before notice
        nothing.
        """
        self._request_table.handshakes.cut()
        for entry in self.entries():
            entry.cut(cause)

    def cut_all(self, cause: Cause) -> None:
        """As `cut_requests()`; and terminate the child processes."""
        self.cut_requests(cause)
        children = frozenset(getattr(self._server, "active_children", None) or ())
        self.tally.ended[cause] += count_running(children)
        for pid in children:
            Child(accepted=trio.current_time(), pid=pid).cut(cause)

    async def end_children(self, cause: Cause) -> None:
        """Terminate the remaining child processes, and kill those that still run after `CUT_TIMEOUT` seconds.
        Called when no loop runs that could fork more.
        """
        children = frozenset(getattr(self._server, "active_children", None) or ())
        for pid in children:
            Child(accepted=trio.current_time(), pid=pid).cut(cause)
        ends = open_child_ends(children)
        try:
            with trio.move_on_after(CUT_TIMEOUT) as limit:
                for end in ends:
                    await trio.lowlevel.wait_readable(end)
            if limit.cancelled_caught and sys.platform != "win32":
                # A child may ignore SIGTERM, or have inherited a handler for it.
                # By its descriptor: one that was reaped meanwhile may have left its id to another process.
                for end in ends:
                    with suppress(ProcessLookupError):
                        signal.pidfd_send_signal(end, signal.SIGKILL)
        finally:
            for end in ends:
                os.close(end)

    async def wait_all_left(self) -> None:
        """Return when nothing is left, however long that takes. A checkpoint."""
        self._request_table.on_leave, self._request_table.is_notified = self.notify, False
        try:
            await trio.lowlevel.checkpoint()
            while not self._is_empty():
                self._changed = trio.Event()
                await self._changed.wait()
        finally:
            self._request_table.on_leave = None

    def _spare_newcomer(self, entry: RequestEntry) -> None:
        # The thread of a request reports it; the trio thread may see that when request and drain are over.
        if self._nursery is not None:
            self._nursery.start_soon(self._watch_newcomer, entry)

    async def _watch_newcomer(self, entry: RequestEntry) -> None:
        await trio.sleep(NEWCOMER_GRACE)
        entry.spared_until = 0.0
        entry.interrupt(Cause.DRAIN)

    def _leave_stuck(self) -> None:
        if self._is_empty():
            return
        # A loop that a handler blocks would later serve the rest of the queue, and nobody would end that.
        for serving in poll.servings_of(self._server):
            serving.leave_queue()
        self.cut_requests(Cause.DRAIN)
        tally = self.tally
        with self._request_table.lock:
            for request in self._request_table.registry.entries():
                if (
                    isinstance(request, Request)
                    and request.thread != self._own_thread
                    and not request.reported
                ):
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
        # The child is not reaped here: collect_children() does so, in the thread that calls server_close().
        try:
            await trio.lowlevel.wait_readable(end)
        finally:
            os.close(end)
        child = self._children.pop(pid)
        self.tally.ended[child.cause or Cause.FINISHED] += 1
        self.notify()


def scope_for(request_table: RequestTable, grace: float | None = None) -> DrainScope:
    """Return the scope of a server's drain, with `grace`, or that of the policy, or the default."""
    if grace is None:
        grace = Timeouts().grace if request_table.policy is None else request_table.policy.grace
    return DrainScope(grace=grace)
