"""Parent and workers: one life, from open endpoints to the merged report.

    open endpoints ── a slot for each worker, all ready ── started(workers) ── … ── drain: the parent's own
    copies of the listeners are closed, every worker is told, one deadline for all ── report

The invariants:

1. **Nothing outlives its brackets, processes included**: each worker is a task's, in the nursery of its slot.
2. **The service begins whole or not at all**: the first worker that does not become ready ends the start.
3. **It ends when it cannot go on**: only if the workers of all slots crash again and again.
4. **One replacement at a time**.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, final

import attrs
import trio

from .._console import say
from .._core.listeners.listener import SocketListener
from .._core.model.addresses import Address
from .._core.model.checks import check_int
from .._core.model.errors import TriosockError
from .._core.model.trio_thread import check_trio_thread
from .._core.registry.drain_report import DrainReport
from .._core.registry.drain_scope import DrainScope
from ..notify import current_notifier
from .control import show
from .endpoints import Endpoints
from .health import ParentView, answer_health
from .obey import obey_signals
from .receiver import NotifyReceiver
from .reports import merge_reports
from .slot import Slot
from .upgrade import OWN_COMMAND, environment_of_successor, start_successor, tell_predecessor
from .worker import Settings, State, Worker

_logger: Final = logging.getLogger("triosock.workers")


class WorkersFailed(TriosockError):
    """The service could not begin, or not go on; the text says why."""


@final
@attrs.frozen(kw_only=True)
class RestartReport:
    """How a rolling restart went: how many workers were `replaced`, and why it stopped (`failure`), if it
    did; those that were not replaced go on.
    """

    replaced: int = 0
    failure: str = ""

    def __str__(self) -> str:
        done = f"{self.replaced} replaced"
        return f"{done}; stopped, the others go on: {self.failure}" if self.failure else done


@final
@attrs.frozen(kw_only=True)
class WorkerStatus:
    """One worker at one moment. `age` is in seconds since it was ready, 0 before; `memory` in bytes."""

    number: int
    process: int
    state: State
    generation: int
    age: float
    memory: int
    status: str


@final
class Workers:
    """Parent and workers, running. `serve_workers` makes it and hands it out by `started()`.

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
        #: Those that are retired and still have workers.
        self._leaving: list[Slot] = []
        self._followers: list[Callable[[Worker], None]] = []
        self._is_starting = True
        self._generation = 1
        self._ended: list[Worker] = []
        self._failure = ""
        self._everything = trio.CancelScope()
        self._shown = ParentView()
        self._one_at_a_time = trio.Lock()
        self._resizing = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._closed = trio.Event()
        self._report = DrainReport()

    # For users

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the service listens."""
        return tuple(self.endpoints.addresses)

    @property
    def count(self) -> int:
        """How many workers there should be."""
        return self._count

    @property
    def draining(self) -> bool:
        """Whether the service was told to drain; also during the delay of the drain."""
        return self._scope.draining

    def statistics(self) -> tuple[WorkerStatus, ...]:
        """Return what each worker is doing, in the order of their numbers, the older of one number first."""
        check_trio_thread("statistics", "workers")
        now = trio.current_time()
        return tuple(
            WorkerStatus(
                number=worker.number,
                process=worker.process.id if worker.process else 0,
                state=worker.state,
                generation=worker.generation,
                age=max(0.0, now - worker.ready_at),
                memory=worker.memory(),
                status=worker.status,
            )
            for worker in self.living()
        )

    def drain(
        self, *, grace: float | None = None, idle_grace: float | None = None, delay: float | None = None
    ) -> None:
        """Tell all to drain, as `DrainScope.drain`; None are the values of `serve_workers`. Synchronous;
        again, it can only tighten.
        """
        self._scope.drain(grace=grace, idle_grace=idle_grace, delay=delay)

    async def wait_closed(self) -> DrainReport:
        """Return the report when nothing is left. A checkpoint."""
        await self._closed.wait()
        return self._report

    async def restart(self) -> RestartReport:
        """Replace the workers, one after the other, by fresh ones, which have the code of now.

        Each successor is ready, and has lived for `Supervision.settle`, before its predecessor drains. The
        first that fails stops the restart: all that were not replaced go on. Returns when the last successor
        has taken over; predecessors may still be draining then, so that there can be twice as many processes
        as workers for as long as the grace.

        Cancellation: a successor that is starting may still take over.
        """
        async with self._one_at_a_time:
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

        Args: `command` starts it; None is how this process was started (`sys.orig_argv`). It must call
        `serve_workers` with the same endpoints, in the same words.

        Raises: UpgradeFailed if it did not become ready, within twice `Supervision.ready`; then nothing has
        changed. Cancellation: the new one is ended, unless it is ready.

        A supervisor that watches this process id must learn the new one: systemd does, by MAINPID. Process 1
        of a container cannot have a successor.
        """
        async with self._one_at_a_time:
            settings = self._settings
            environment = environment_of_successor(settings.environment)
            successor = await start_successor(
                OWN_COMMAND if command is None else command,
                self.endpoints,
                self._receiver,
                environment,
                2 * settings.supervision.ready,
            )
            self.endpoints.disown_files()
            self._shown.end()
            _logger.info("process %d has taken over", successor.id)
            notifier = current_notifier()
            if notifier is not None:
                await notifier.main_process(successor.id)
                notifier.mute()
        self.drain()

    async def set_count(self, count: int) -> None:
        """Have so many workers, from 1 on. Returns when new ones are ready; superfluous ones, those with the
        highest numbers, drain meanwhile.

        With UDP, another number of sockets means that the kernel deals peers out anew.
        """
        self._count = check_int(count, "count")
        async with self._resizing:
            while len(self._slots) > self._count:
                slot = self._slots.pop()
                self._leaving.append(slot)
                slot.retire()
            new = []
            while len(self._slots) < self._count and not self._scope.draining:
                new.append(await self._add_slot())
        for slot in new:
            await slot.ready.wait()

    def living(self) -> list[Worker]:
        """Return the workers themselves, in the order of `statistics`. For the control socket."""
        return [
            worker
            for slot in sorted((*self._slots, *self._leaving), key=lambda slot: slot.number)
            for worker in slot.workers
        ]

    def has_started(self, process: int) -> bool:
        """Whether this process id is a child's that is waited for here."""
        return self.endpoints.is_guard(process) or any(one.process == process for one in self.statistics())

    @contextlib.contextmanager
    def followed_by(self, follower: Callable[[Worker], None]) -> Iterator[None]:
        """Call `follower` for each worker that there is, and for each that is made in the block."""
        self._followers.append(follower)
        try:
            for worker in self.living():
                follower(worker)
            yield
        finally:
            self._followers.remove(follower)

    # Its life

    async def serve(
        self,
        task_status: trio.TaskStatus[Workers],
        *,
        signals: bool,
    ) -> DrainReport:
        """Serve until drained. `serve_workers` calls it."""
        try:
            async with trio.open_nursery() as nursery:
                with self._everything:
                    nursery.start_soon(self._receiver.run)
                    nursery.start_soon(answer_health, self, self._shown)
                    if signals and threading.current_thread() is threading.main_thread():
                        await nursery.start(obey_signals, self)
                    await self._keep_slots(task_status, nursery)
                nursery.cancel_scope.cancel(reason="triosock: no worker is left")
        finally:
            self._closed.set()
        if self._failure:
            raise WorkersFailed(self._failure)
        return self._report

    async def _keep_slots(self, task_status: trio.TaskStatus[Workers], outside: trio.Nursery) -> None:
        # Synchronously, and again when the deadline is tightened.
        self._scope.on_drain = self._drain_all
        async with trio.open_nursery() as self._nursery:
            for _ in range(self._count):
                await self._add_slot()
            for slot in tuple(self._slots):
                await slot.ready.wait()
            self._is_starting = False
            told = f"{self._name}: {self._count} workers on {', '.join(map(str, self.addresses))}"
            _logger.info("%s", told)
            say(told, logger=_logger.name)
            if not self._scope.draining:
                await tell_predecessor(self.endpoints)
                await outside.start(self.endpoints.guard_files)
            self._shown.begun.set()
            if self.endpoints.control is not None:
                # Outside, for a drain is looked at too.
                outside.start_soon(self._show, self.endpoints.control)
            task_status.started(self)
            await self._scope.wait_begun()
            self._close_ours()
            began = trio.current_time()
            leaving = [worker for slot in (*self._slots, *self._leaving) for worker in slot.workers]
            for slot in self._slots:
                slot.retire()
        self._report = self._merge(leaving, trio.current_time() - began)
        _logger.info("%s: %s", self._name, self._report)
        self._scope._record(self._name, self._report, _logger.name)

    async def _show(self, listener: SocketListener) -> None:
        with self._shown.window:
            await show(self, listener, self._settings.control == "verbs")

    def _drain_all(self) -> None:
        if self._scope.begins <= trio.current_time():
            self._close_ours()
        for slot in (*self._slots, *self._leaving):
            slot.drain()
            if self._is_starting:
                slot.retire()  # it may never be ready, and serves no client yet

    def _close_ours(self) -> None:
        # Our copies of the listeners go before those of the workers: a connect is refused as soon as no
        # process has one any more, and no client may be left in a queue that no worker reads.
        self.endpoints.close()

    def _merge(self, workers: Sequence[Worker], duration: float) -> DrainReport:
        reports = [report for worker in workers for report in worker.reports or ()]
        # A program that is none of ours sends no report: its exit code says how it ended.
        silent = [one for one in workers if one.reports is None and one.ready.is_set() and one.has_failed]
        for worker in silent:
            _logger.error("%s %s, without a report", worker, worker.describe_end())
        return merge_reports(reports, duration=duration, missing=len(silent))

    async def _add_slot(self) -> Slot:
        taken = {slot.number for slot in (*self._slots, *self._leaving)}
        number = next(one for one in itertools.count(1) if one not in taken)
        await self.endpoints.open_slot(number)
        slot = Slot(number, self._make, self._drain, self._judge, self._settings.supervision)
        self._slots.append(slot)
        assert self._nursery is not None
        self._nursery.start_soon(self._keep, slot)
        return slot

    async def _keep(self, slot: Slot) -> None:
        try:
            await slot.keep()
        finally:
            if slot in self._leaving:
                self._leaving.remove(slot)
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
        worker.drain(max(0.0, scope.deadline - begins), scope.idle_grace or None, begins - now)

    def _judge(self) -> None:
        """After a crash: does the service go on?"""
        most = self._settings.supervision.max_crashes
        if self._is_starting:
            self._fail("; ".join(slot.failure for slot in self._slots if slot.failure))
        elif all(slot.crashes >= most for slot in self._slots):
            reasons = "; ".join(slot.failure for slot in self._slots)
            self._fail(f"all workers crashed {most:g} times in a row: {reasons}")

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why
        self._everything.cancel(reason=f"triosock: {why}")

    def _recycle(self, worker: Worker, reason: str) -> None:
        """A worker should be replaced: when it is its turn."""
        if self._nursery is not None and not self._scope.draining:
            self._nursery.start_soon(self._replace_one, worker, reason)

    async def _replace_one(self, worker: Worker, reason: str) -> None:
        async with self._one_at_a_time:
            slot = next((slot for slot in self._slots if slot.worker is worker), None)
            if slot is None:
                return  # it has gone meanwhile
            _logger.info("%s is replaced: %s", worker, reason)
            if failure := await slot.replace():
                _logger.error("%s stays: %s", worker, failure)
