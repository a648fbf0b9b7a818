"""The parent and its workers, from open endpoints to the merged report.

    open endpoints ── a slot for each worker, all ready ── started(workers) ── … ── drain: the parent closes
    its own copies of the listeners, all workers drain with one deadline ── report

The invariants:

1. **Nothing outlives its brackets, processes included**: each worker has a task in the nursery of its slot.
2. **The service starts with all workers or not at all**: the first one that does not become ready ends it.
3. **Later it fails only if the workers of all slots crash** `Supervision.max_crashes` times in a row.
4. **One worker or parent is replaced at a time**, under one lock.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, final

import trio

from .._console import say
from .._core.listeners.listener import SocketListener
from .._core.model.addresses import Address
from .._core.model.checks import check_int
from .._core.model.trio_thread import check_trio_thread
from .._core.registry.drain_report import DrainReport
from .._core.registry.drain_scope import DrainScope, leave_scopes
from ..notify import current_notifier
from .control import serve_control
from .endpoints import Endpoints
from .handover import Handover
from .health import ParentView, answer_health
from .receiver import NotifyReceiver
from .reports import merge_reports
from .signals import handle_signals
from .slot import Slot
from .upgrade import OWN_COMMAND, Upgrades, environment_of_successor, start_successor, tell_predecessor
from .values import RestartReport, WorkersFailed, WorkerStatus, status_of
from .worker import Settings, Worker

_logger: Final = logging.getLogger("triosock.workers")


@final
class Workers:
    """A running service of a parent and its workers: `serve_workers` passes it to `task_status.started()`.

    All methods belong to the trio program's own thread.
    """

    def __init__(
        self,
        settings: Settings,
        receiver: NotifyReceiver,
        endpoints: Endpoints,
        count: int,
        name: str,
        scope: DrainScope,
    ) -> None:
        self._receiver = receiver
        self._settings = settings
        self.endpoints: Endpoints = endpoints
        self._count = count
        self._name = name
        self._scope = scope
        self._slots: list[Slot] = []
        #: Retired slots that still have workers.
        self._retiring: list[Slot] = []
        self._followers: list[Callable[[Worker], None]] = []
        self._is_starting = True
        self._generation = 1
        self._ended: list[Worker] = []
        self._failure = ""
        self._service_scope = trio.CancelScope()
        self._view = ParentView()
        self._upgrades = Upgrades(receiver)
        self._replacing, self._resizing = trio.Lock(), trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._closed = trio.Event()
        self._report = DrainReport()

    # For programs

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses at which the service listens."""
        return tuple(self.endpoints.addresses)

    @property
    def count(self) -> int:
        """The number of workers that there should be; while it changes, there may be more or less."""
        return self._count

    @property
    def draining(self) -> bool:
        """Whether `drain()` was called; True also during the delay of the drain."""
        return self._scope.draining

    def statistics(self) -> tuple[WorkerStatus, ...]:
        """Return the status of each worker, by number; of those with one number, the older one first."""
        check_trio_thread("statistics", "workers")
        now = trio.current_time()
        return tuple(status_of(worker, now) for worker in self.living())

    def drain(
        self, *, grace: float | None = None, idle_grace: float | None = None, delay: float | None = None
    ) -> None:
        """Drain all workers, as `DrainScope.drain`. None stands for the values that `serve_workers` was
        given. Synchronous. A further call can only tighten the drain.
        """
        self._scope.drain(grace=grace, idle_grace=idle_grace, delay=delay)

    async def wait_closed(self) -> DrainReport:
        """Wait until the service has ended, and return its report. A checkpoint."""
        await self._closed.wait()
        return self._report

    async def restart(self) -> RestartReport:
        """Replace the workers, one after the other, by fresh processes, which load the code again.

        Each successor is ready, and has run for `Supervision.settle`, before its predecessor drains. The
        first one that fails stops the restart, and the workers that were not replaced go on. Returns when the
        last successor has taken over; predecessors may still be draining then, so that there can be twice as
        many processes as workers until their grace period is over.

        Cancellation: a successor that is starting may still take over. Drain, or the end of the service: the
        restart stops, and the report says why.
        """
        async with self._replacing:
            self._generation += 1
            replaced = 0
            for slot in list(self._slots):
                if self._scope.draining:
                    return RestartReport(replaced=replaced, failure="the service drains")
                failure = await slot.replace()
                if failure and slot in self._slots:
                    return RestartReport(replaced=replaced, failure=failure)
                replaced += not failure
            return RestartReport(replaced=replaced)

    async def upgrade(self, command: Sequence[str] | None = None) -> None:
        """Hand the service over to a new parent, a fresh interpreter, and drain.

        Args: `command`, the command line of the new parent; None for that of this process (`sys.orig_argv`).
        It must call `serve_workers` with the same endpoints, written in the same way.

        Raises: UpgradeFailed if the new parent is not ready within twice `Supervision.ready`, or in process 1
        of a container; then nothing has changed. It raises that also if the service drains, or ends, before
        the new parent is ready, which is ended then. Cancellation: the new parent is ended, unless it is
        ready.

        A service manager that watches the process id of the parent must be told the new one; systemd is, by
        MAINPID.
        """
        async with self._replacing:
            settings = self._settings
            successor = await self._upgrades.run(
                start_successor,
                OWN_COMMAND if command is None else command,
                self.endpoints,
                self._receiver,
                environment_of_successor(settings.environment),
                2 * settings.supervision.ready,
            )
            self._view.end()
            _logger.info("process %d has taken over", successor.id)
            try:
                if (notifier := current_notifier()) is not None:
                    # It must learn this also if the caller is cancelled. One that does not read must not
                    # hold the lock for ever.
                    with trio.move_on_after(1, shield=True):
                        await notifier.main_process(successor.id)
                    notifier.mute()
            finally:
                self.drain()  # whatever happens: the successor serves

    async def set_count(self, count: int) -> None:
        """Change the number of workers to `count`, from 1 on. Returns when new workers are ready; the workers
        with the highest numbers are the first to be removed, and may still be draining then.

        Raises: TypeError, ValueError; OSError if a UDP socket of a new worker cannot be opened: then the
        service goes on with those that it has. With UDP, the kernel assigns peers to sockets by their number:
        sessions may move to another worker, which does not know them.
        """
        self._count = check_int(count, "count")
        async with self._resizing:
            while len(self._slots) > self._count:
                slot = self._slots.pop()
                self._retiring.append(slot)
                slot.retire()
            before = len(self._slots)
            try:
                while len(self._slots) < self._count and not self._scope.draining:
                    await self._add_slot()
            except BaseException:
                if self._count == count:  # no other call has come meanwhile
                    self._count = len(self._slots)
                raise
            new = self._slots[before:]
        for slot in new:
            await slot.ready.wait()

    def living(self) -> list[Worker]:
        """Return the running workers, in the order of `statistics`. For the control socket."""
        return [
            worker
            for slot in sorted((*self._slots, *self._retiring), key=lambda slot: slot.number)
            for worker in slot.workers
        ]

    def has_started(self, process: int) -> bool:
        """Whether this is the process id of a child that this service waits for."""
        return self.endpoints.is_guard(process) or any(one.process == process for one in self.statistics())

    @contextlib.contextmanager
    def followed_by(self, follower: Callable[[Worker], None]) -> Iterator[None]:
        """Call `follower` with each running worker, and with each that is made in the block."""
        self._followers.append(follower)
        try:
            for worker in self.living():
                follower(worker)
            yield
        finally:
            self._followers.remove(follower)

    # Serving

    async def serve(self, task_status: trio.TaskStatus[Workers], *, signals: bool) -> DrainReport:
        """Serve until drained. `serve_workers` calls it."""
        try:
            async with trio.open_nursery() as nursery:
                with self._service_scope:
                    nursery.start_soon(self._receiver.run)
                    nursery.start_soon(answer_health, self, self._view)
                    if signals and threading.current_thread() is threading.main_thread():
                        await nursery.start(handle_signals, self)
                    await self._run_slots(task_status, nursery)
                nursery.cancel_scope.cancel(reason="triosock: no worker is left")
        finally:
            self._upgrades.refuse()
            with trio.CancelScope(shield=True):  # bounded: a successor that starts is killed after a second
                async with self._replacing:
                    self._closed.set()
        if self._failure:
            raise WorkersFailed(self._failure)
        return self._report

    async def _run_slots(self, task_status: trio.TaskStatus[Workers], outside: trio.Nursery) -> None:
        self._scope.on_drain = self._drain_all  # synchronous; again when the deadline is tightened
        async with trio.open_nursery() as self._nursery:
            handover = self.endpoints.handover
            if handover is None:
                await outside.start(self.endpoints.guard_files)
            await self._start_slots()
            if handover is not None and not self._scope.draining:
                await self._take_over(handover, outside)
            self._view.begun.set()
            if self.endpoints.control is not None:  # outside, since it answers until no worker is left
                outside.start_soon(self._serve_control, self.endpoints.control)
            task_status.started(self)
            await self._scope.wait_begun()
            self._close_listeners()
            began = trio.current_time()
            leaving = [worker for slot in (*self._slots, *self._retiring) for worker in slot.workers]
            for slot in self._slots:
                slot.retire()
        self._report = self._merge(leaving, trio.current_time() - began)
        _logger.info("%s: %s", self._name, self._report)
        self._scope._record(self._name, self._report, _logger.name)

    async def _take_over(self, handover: Handover, outside: trio.Nursery) -> None:
        if not await tell_predecessor(self.endpoints, handover):
            self._fail("the process that this one was to follow has ended before")
            await trio.lowlevel.checkpoint()  # cancelled by that
        await outside.start(self.endpoints.guard_files)  # not earlier: the files belong to the predecessor

    async def _start_slots(self) -> None:
        for _ in range(self._count):
            await self._add_slot()
        for slot in tuple(self._slots):
            await slot.ready.wait()
        self._is_starting = False
        told = f"{self._name}: {self._count} workers on {', '.join(map(str, self.addresses))}"
        _logger.info("%s", told)
        say(told, logger=_logger.name)

    async def _serve_control(self, listener: SocketListener) -> None:
        leave_scopes()  # it answers in a drain too
        with self._view.control_scope:
            await serve_control(self, listener, self._settings.control == "verbs")

    def _drain_all(self) -> None:
        self._upgrades.refuse()
        begins_now = self._scope.begins <= trio.current_time()
        if begins_now:
            self._close_listeners()
        for slot in (*self._slots, *self._retiring):
            slot.drain()
            # No worker is started with closed sockets. One that starts first may never be ready, and serves
            # no client.
            if begins_now or self._is_starting:
                slot.retire()

    def _close_listeners(self) -> None:
        # Before the workers close theirs: no client may be left in the queue of a listener that only we have.
        self.endpoints.close()

    def _merge(self, workers: Sequence[Worker], duration: float) -> DrainReport:
        reports = [report for worker in workers for report in worker.reports or ()]
        # A program that does not use triosock.run sends no report; it counts as drained if it exited with 0.
        silent = [one for one in workers if one.reports is None and one.ready.is_set() and one.has_failed]
        for worker in silent:
            _logger.error("%s %s, without a report", worker, worker.describe_end())
        return merge_reports(reports, duration=duration, missing=len(silent))

    async def _add_slot(self) -> None:
        """Open a slot, and start its task; nothing happens if the service drains. A checkpoint."""
        await trio.lowlevel.checkpoint()
        taken = {slot.number for slot in (*self._slots, *self._retiring)}
        number = next(one for one in itertools.count(1) if one not in taken)
        await self.endpoints.open_slot(number)
        if self._scope.draining:
            self.endpoints.close_slot(number)
            return
        slot = Slot(number, self._make, self._drain, self._check_crashes, self._settings.supervision)
        self._slots.append(slot)
        assert self._nursery is not None
        self._nursery.start_soon(self._run_slot, slot)

    async def _run_slot(self, slot: Slot) -> None:
        try:
            await slot.run()
        finally:
            if slot in self._retiring:
                self._retiring.remove(slot)
            self.endpoints.close_slot(slot.number)

    def _make(self, number: int) -> Worker:
        sockets = self.endpoints.descriptors(number)
        worker = Worker(number, self._generation, self._settings, self._receiver, sockets, self._recycle)
        for follower in self._followers:
            follower(worker)
        return worker

    def _drain(self, worker: Worker) -> None:
        now, scope = trio.current_time(), self._scope
        if not scope.draining:
            worker.drain(self._settings.grace, self._settings.idle_grace)
            return
        begins = max(now, scope.begins)
        # Without an end of the delay there is no deadline yet.
        grace = scope.grace if begins == math.inf else max(0.0, scope.deadline - begins)
        worker.drain(grace, scope.idle_grace or None, begins - now)

    def _check_crashes(self) -> None:
        """End the service after a crash, if it is starting, or if all slots have had `max_crashes` in a
        row.
        """
        most = self._settings.supervision.max_crashes
        if self._is_starting:
            self._fail("; ".join(slot.failure for slot in self._slots if slot.failure))
        elif all(slot.crashes >= most for slot in self._slots):
            reasons = "; ".join(slot.failure for slot in self._slots)
            self._fail(f"all workers crashed {most:g} times in a row: {reasons}")

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why
        self._service_scope.cancel(reason=f"triosock: {why}")

    def _recycle(self, worker: Worker, reason: str) -> None:
        """Start a task that replaces a worker when no other replacement runs."""
        if self._nursery is not None and not self._scope.draining:
            self._nursery.start_soon(self._replace_one, worker, reason)

    async def _replace_one(self, worker: Worker, reason: str) -> None:
        """Replace a worker that is over a limit. If its successor fails, it is still over that limit: so
        another is started after the longest wait that there is after crashes.
        """
        pause = self._settings.supervision.max_backoff
        # One that drains meanwhile, with the service or its slot, does not stay.
        while (failure := await self._try_to_replace(worker, reason)) and worker.state == "ready":
            _logger.error("%s stays: %s; the next attempt is in %g s", worker, failure, pause)
            with trio.move_on_after(pause):
                await worker.ended.wait()

    async def _try_to_replace(self, worker: Worker, reason: str) -> str:
        """Return "", also if it has ended or drains already, or the reason why there is no successor."""
        async with self._replacing:
            slot = next((slot for slot in self._slots if worker in slot.workers), None)
            if slot is None or worker.state != "ready":
                return ""
            _logger.info("%s is replaced: %s", worker, reason)
            return await slot.replace()
