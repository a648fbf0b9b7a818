"""`await compat.serve(server)`: runs a server in a trio program, beside native ones.

    caller's trio run ── serve() ── the loop: server.serve_forever() in a thread, whose waits are in this run
                                └── handlers, in the threads or processes that the server starts

Rules of this file: when `serve()` returns or raises, the loop's thread and the handlers have ended and the
server is closed, in every case. A handler that cannot be ended from outside is waited for: see
`docs/discussion/compat.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import final

import trio

from triosock import Address, Cause, DrainReport, Observer, ServerStatistics
from triosock._core.model.checks import check_several
from triosock._core.model.emitter import Emitter
from triosock._core.model.events import ServerClosed, ServerStarted
from triosock._core.model.node import Node
from triosock._core.model.options import explained
from triosock._core.registry.description import EntryView, ServerView, SnapshotOptions, describe_listener
from triosock._core.registry.drain_scope import describe_inside, grace_of
from triosock._core.registry.registry import Entry

from ..bridge import trio_thread as hosts
from ..bridge.addresses import address_of_listener
from ..requests.ports import RequestEntry
from ..requests.table import request_table_of
from ..stdlib.base import BaseServer
from ..waiting import poll
from ..waiting.own_loop import OwnLoop
from .drain import Running
from .drain_target import DrainTarget, scope_for
from .server_argument import check_server
from .statistics import statistics

#: The poll interval of the standard library's `serve_forever()`.
DEFAULT_INTERVAL = 0.5


@explained
async def serve(
    server: BaseServer,
    *,
    poll_interval: float | None = DEFAULT_INTERVAL,
    grace: float | None = None,
    observers: Iterable[Observer] = (),
    name: str | None = None,
    task_status: trio.TaskStatus[CompatServer] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Run `server.serve_forever(poll_interval)` in this trio program until it is drained, shut down or
    cancelled.

    The hooks of the server run in a thread of their own, its waits in this trio run. It belongs to the
    enclosing `DrainScope`.

    If the class has a `serve_forever()` of its own that loops over `handle_request()`, the end of a drain and
    a cancellation leave the loop as Ctrl-C does: `handle_request()` raises a BaseException, which is caught
    here. A loop that waits in another way must end by itself.

    Args:
      server: bound and active, as its constructor returns it. It is closed (`server_close()`) at the end.
      poll_interval: seconds between two calls of `service_actions()` of an idle server; None for only after
        requests. With the default, `serve_forever()` is called without an argument.
      grace: seconds, from 0 on, that a drain gives to requests in progress; None for the policy's, or 15.
      observers: observers in addition to those of the policy.
      name: the name of the server in events and reports; None for the name of its class.

    Returns: the DrainReport. `nursery.start` gives the `CompatServer`.

    Raises: what `serve_forever()` or `server_close()` raises; TypeError if `server` is none of
    `triosock.compat`, such as one of the standard library; RuntimeError if the server is being served or
    drained already.

    Cancellation: accepting stops, and the handlers get `RequestCut` and are waited for. Drain: as
    `compat.drain`.
    """
    check_server(server, "serve")
    return await CompatServer(server, poll_interval, grace, observers, name)._serve(task_status)


@final
class CompatServer:
    """A compat server that runs in a trio program. It has the methods of a `triosock.StreamServer` with the
    same names; it cannot be suspended, and its drain has no `idle_grace` and no `delay`.
    """

    def __init__(
        self,
        server: BaseServer,
        poll_interval: float | None,
        grace: float | None,
        observers: Iterable[Observer],
        name: str | None,
    ) -> None:
        self._server = server
        self._interval = poll_interval
        self._request_table = request_table_of(server)
        self._scope = scope_for(self._request_table, grace)
        self._scope.on_drain = self._on_drain
        self._scope.owner = self
        # For `describe`.
        self._since = trio.current_time()
        self._outer_deadline = trio.current_effective_deadline()
        asked = () if self._request_table.policy is None else self._request_table.policy.observers
        if name is not None:
            self._request_table.name = name
        several = check_several(observers, "observers must be several observers in a list")
        self._emitter = Emitter(self._request_table.name, trio.current_time, (*asked, *several))
        self._drain_begun, self._closed, self._loop_ended = trio.Event(), trio.Event(), trio.Event()
        self._own_loop = OwnLoop(server)
        self._target: DrainTarget | None = None
        self._error: BaseException | None = None
        self._report = DrainReport(drained=False)
        self._addresses = (address_of_listener(server),)

    @property
    def name(self) -> str:
        """The name of the server in events and reports."""
        return self._request_table.name

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The address at which it listens, in a tuple."""
        return self._addresses

    @property
    def observers(self) -> Emitter:
        """Its observers."""
        return self._emitter

    @property
    def draining(self) -> bool:
        """Whether a drain has begun."""
        return self._scope.draining

    def drain(self, *, grace: float | None = None) -> None:
        """Begin a drain. Synchronous; `wait_closed()` waits for its end. A second call can only tighten it.

        Args: `grace`, seconds from 0 on; None for that of `serve()`.
        """
        self._scope.drain(grace=grace)

    async def wait_closed(self) -> DrainReport:
        """Wait until nothing of the server is left, and return its report. A checkpoint."""
        await self._closed.wait()
        return self._report

    def statistics(self) -> ServerStatistics:
        """Return the current counts, as a frozen value."""
        return statistics(self._server)

    def entries(self) -> tuple[Entry, ...]:
        """Return the entries of the requests that are handled now. For inspection."""
        return self._request_table.registry.entries()

    def why_not_ready(self) -> str:
        """Return the reason why it should get no more clients; "" if it is ready."""
        return "draining" if self.draining else ""

    def describe(self, look: SnapshotOptions) -> Node:
        """Return its node with its requests. For inspection."""
        policy = self._request_table.policy
        view = ServerView(
            name=self.name,
            state="draining" if self.draining else "serving",
            since=self._since,
            around=self._outer_deadline,
            registry=self._request_table.registry,
            entries=EntryView(lifetime=math.inf if policy is None else policy.request_timeout),
            listeners=[describe_listener(one, is_closed=self.draining) for one in self._addresses],
        )
        return view.describe(look, grace_of(self._scope), describe_inside(self._scope, look))

    # Serving

    def _on_drain(self) -> None:
        self._drain_begun.set()
        if self._target is not None:
            self._target.tighten()

    async def _serve(self, task_status: trio.TaskStatus[CompatServer]) -> DrainReport:
        host = hosts.Host(trio.lowlevel.current_trio_token())
        request_table = self._request_table
        if request_table.host is not None:
            raise RuntimeError("this server is being served already, or drained: serve() needs it for itself")
        before, request_table.emitter = request_table.emitter, self._emitter
        request_table.served = self
        hosts.choose(self._server, host)
        request_table.supervision.begin(host)
        cut_before = request_table.tally().ended[Cause.PARENT]
        try:
            with self._scope:
                await self._run_loop_and_drain(task_status)
        finally:
            try:
                with trio.CancelScope(shield=True):
                    await self._close()
            finally:
                # Also if server_close() raises, which a program may override.
                request_table.supervision.end(host)
                hosts.choose(self._server, None)
                request_table.drain = request_table.served = None
                request_table.handshakes.is_over = False
                request_table.emitter = before
                self._finish(cut_before)
        if self._error is not None:
            raise self._error
        return self._report

    def _finish(self, cut_before: int) -> None:
        """Make the report, if no drain has made it, and tell all who wait for the end."""
        if not self._report.drained:
            cut = self._request_table.tally().ended[Cause.PARENT] - cut_before
            self._report = DrainReport(cancelled=cut, drained=False)
        self._emitter.emit(ServerClosed)
        self._scope._record(self.name, self._report)
        self._closed.set()

    async def _run_loop_and_drain(self, task_status: trio.TaskStatus[CompatServer]) -> None:
        request_table = self._request_table
        async with trio.open_nursery() as nursery:
            self._emitter.emit(ServerStarted, addresses=self._addresses, lifetime=request_table.lifetime)
            nursery.start_soon(self._loop)
            task_status.started(self)
            try:
                await self._drain_begun.wait()
                if self._error is None:
                    await self._drain()
            finally:
                if not self._report.drained:
                    self._cut_all()
                elif trio.current_time() >= self._scope.deadline:
                    # Its loop, which is waited for, may have taken a request that the drain has not seen.
                    self._cut_newcomers(Cause.DRAIN).cut_requests(Cause.DRAIN)

    async def _loop(self) -> None:
        """Run the server's loop in a thread of its own."""
        try:
            await trio.to_thread.run_sync(
                self._own_loop.run, self._serve_forever, limiter=trio.CapacityLimiter(1)
            )
        except trio.Cancelled:
            raise
        except BaseException as error:
            self._error = error  # not raised here: the nursery would put it into a group
        finally:
            self._loop_ended.set()
            self._drain_begun.set()

    def _serve_forever(self) -> None:
        if self._interval == DEFAULT_INTERVAL:
            # An override may take no interval.
            self._server.serve_forever()
        else:
            self._server.serve_forever(self._interval)

    async def _drain(self) -> None:
        # Also after a shutdown() by another thread: busy requests get the same grace period.
        self._request_table.drain = Running(self._scope)
        if not self._scope.draining:
            self._scope.drain()
        self._target = DrainTarget(self._server, self._request_table, self._scope)
        self._report = await self._target.drain()

    def _cut_newcomers(self, cause: Cause) -> DrainTarget:
        """Cut all requests that begin from now on. Return what cuts the others: in this order, none is
        missed.
        """

        def cut(entry: RequestEntry) -> None:
            entry.cut(cause)

        self._request_table.on_newcomer = cut
        return DrainTarget(self._server, self._request_table, self._scope)

    def _cut_all(self) -> None:
        target = self._cut_newcomers(Cause.PARENT)
        vars(self._server)["_BaseServer__shutdown_request"] = True
        self._own_loop.cut()
        for serving in poll.servings_of(self._server):
            serving.wake()
        target.cut_all(Cause.PARENT)

    async def _close(self) -> None:
        """Wait for the remaining requests, then close the server."""
        target = DrainTarget(self._server, self._request_table, self._scope)
        await target.wait_all_left()
        self._request_table.on_newcomer = None
        # Not before the loop has ended: it may have forked while the other children were terminated.
        if not self._report.drained or trio.current_time() >= self._scope.deadline:
            await target.end_children(Cause.DRAIN if self._report.drained else Cause.PARENT)
        await trio.to_thread.run_sync(self._server.server_close, limiter=trio.CapacityLimiter(1))
