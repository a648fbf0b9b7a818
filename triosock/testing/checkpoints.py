"""Cancels a scenario at each of its checkpoints in turn, and checks that nothing outlives its brackets.

It asserts that **after a cancellation at any checkpoint nothing is left**: no descriptor, task, thread,
in-memory stream, registry entry or slot; and that after every step the counts of each registry are exact.

The scenario is run repeatedly, the first time without a cancellation. Then an instrument counts the steps of
its tasks, and the n-th run is cancelled right after the n-th step, when the task has begun to wait. The
first run with fewer steps is the last. The order in which trio runs tasks is random, so two calls may see
different orders.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias, final

import trio

from .._core.model.errors import PeerError
from .._core.model.events import Cause
from .._core.registry.registry import Entry
from .._core.stream.server import StreamServer
from .leaks import no_new_resources, where
from .open_server import check_nothing_left, watched_servers

Scenario: TypeAlias = Callable[[], Awaitable[object]]

#: Several times the number that a server and a few clients have.
MAX_CHECKPOINTS: Final = 2_000
#: Seconds for one run; a run that takes longer waits for an event that never happens.
TIMEOUT: Final = 60.0
_NEVER: Final = -1


async def cancel_at_every_checkpoint(
    scenario: Scenario,
    *,
    whose: Literal["scenario", "handlers"] = "scenario",
    expected: tuple[type[BaseException], ...] = (trio.BrokenResourceError, PeerError),
    max_checkpoints: int = MAX_CHECKPOINTS,
    timeout: float = TIMEOUT,
) -> int:
    """Run `scenario` repeatedly, cancelled one checkpoint later each time, until it completes; check after
    each run that nothing is left.

    Args:
      scenario: an async function without arguments, which must do the same each time; usually it opens a
        server with `open_server` and acts as its client.
      whose: "scenario" counts the checkpoints of all tasks, and cancels the whole scenario with its server;
        "handlers" counts only those of the connections' tasks, and cuts only that connection. For
        "handlers", register servers that were not opened by `open_server` with `watch(server)`.
      expected: exceptions that clients may raise in a cancelled run, because their connection broke. A run
        that was not cancelled may raise none.
      max_checkpoints: the maximum of checkpoints of the scenario, an int from 1 on.
      timeout: seconds of trio's clock for one run.

    Returns: the number of checkpoints of the last run, which completed.

    Raises: AssertionError, with the checkpoint of the cancellation, if something was left, a client raised
    another exception, a run took longer than `timeout`, or there are more than `max_checkpoints`; the
    exception of a scenario that was not cancelled; ValueError for a wrong `whose`.

    Cancellation: ends the current run and the call.
    """
    if whose not in ("scenario", "handlers"):
        raise ValueError(f"whose must be 'scenario' or 'handlers', not {whose!r}")
    gc.collect()
    await _Run(scenario, _NEVER, whose).run(expected, timeout)
    for number in range(0 if whose == "scenario" else 1, max_checkpoints + 1):
        run = _Run(scenario, number, whose)
        await run.run(expected, timeout)
        if run.cancelled_at is None:
            return run.seen
    raise AssertionError(
        f"the scenario has more than {max_checkpoints} checkpoints: make it shorter, or raise max_checkpoints"
    )


@final
class _Run(trio.abc.Instrument):
    """One run, with its cancellation at checkpoint `number`; 0 is before the first."""

    def __init__(self, scenario: Scenario, number: int, whose: str) -> None:
        self._scenario = scenario
        self._number = number
        self._whose = whose
        self._scope = trio.CancelScope()
        self._root: trio.lowlevel.Task | None = None
        self._servers: list[StreamServer] = []
        self._error: Exception | None = None
        self._inconsistent: AssertionError | None = None
        self.seen = 0
        #: The place of the cancellation.
        self.cancelled_at: str | None = None

    async def run(self, expected: tuple[type[BaseException], ...], timeout: float) -> None:
        try:
            with no_new_resources(), trio.move_on_after(timeout) as patience:
                trio.lowlevel.add_instrument(self)
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._main)
                finally:
                    trio.lowlevel.remove_instrument(self)
            assert not patience.cancelled_caught, f"it did not end within {timeout:g} s"
            if self._inconsistent is not None:
                raise self._inconsistent
            for server in self._servers:
                check_nothing_left(server)
        except AssertionError as error:
            raise AssertionError(f"{self._situation()}: {error}") from (self._error or error)
        if self._error is not None:
            if self.cancelled_at is None:
                raise self._error
            if not _only(self._error, expected):
                raise AssertionError(f"{self._situation()}: it raised {self._error!r}") from self._error

    def _situation(self) -> str:
        if self.cancelled_at is None:
            return "not cancelled at all"
        return f"cancelled at checkpoint {self._number} ({self.cancelled_at})"

    async def _main(self) -> None:
        self._root = trio.lowlevel.current_task()
        watched_servers.set(self._servers)
        if self._number == 0 and self._whose == "scenario":
            self._cancel("before the first step", None)
        try:
            with self._scope:
                await self._scenario()
        except Exception as error:  # checked after everything else
            self._error = error

    # The instrument. trio drops one that raises, so it must not.

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step, and cancel at the chosen one."""
        if self._inconsistent is None:
            self._check_registries()
        if self.cancelled_at is not None or self._root is None or not _descends(task, self._root):
            return
        entry = self._entry(task) if self._whose == "handlers" else None
        if entry is None and self._whose == "handlers":
            return
        self.seen += 1
        if self.seen == self._number:
            self._cancel(where(task), entry)

    def _cancel(self, place: str, entry: Entry | None) -> None:
        self.cancelled_at = place
        if entry is None:
            self._scope.cancel(reason="triosock: cancel_at_every_checkpoint")
        else:
            entry.cut(Cause.PARENT)

    def _check_registries(self) -> None:
        for server in self._servers:
            try:
                server._registry.check()
            except AssertionError as error:
                self._inconsistent = error

    def _entry(self, task: trio.lowlevel.Task) -> Entry | None:
        for server in self._servers:
            for entry in server._registry.entries():
                if entry.task is not None and _descends(task, entry.task):
                    return entry
        return None


def _descends(task: trio.lowlevel.Task, ancestor: trio.lowlevel.Task) -> bool:
    """Whether `task` is `ancestor`, or was started in a nursery of it or of one of its descendants."""
    while task is not ancestor:
        if task.parent_nursery is None:
            return False
        task = task.parent_nursery.parent_task
    return True


def _only(error: BaseException, expected: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group: BaseExceptionGroup[BaseException] = error
        return all(_only(one, expected) for one in group.exceptions)
    return isinstance(error, expected)
