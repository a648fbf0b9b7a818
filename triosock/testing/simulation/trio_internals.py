"""The only file that uses private API of trio: for the order of tasks, the jumping clock, and the start of
threads.

It uses:

- ``trio._core._run._r``, the generator that shuffles each batch of runnable tasks, and
  ``_ALLOW_DETERMINISTIC_SCHEDULING``, which has a batch sorted by the age of its tasks before. Hypothesis and
  pytest-trio use the same two, through ``trio._core._run._hypothesis_plugin_setup``.
- ``trio.testing.MockClock._autojump``, which trio calls when no task can run and nothing came.
- ``trio._threads.start_thread_soon``, by which `trio.to_thread.run_sync` gets its threads.
- The cancel statuses of tasks, to end a run that is deadlocked.

The invariant: **everything replaced is restored when the block ends.** Before the first simulation of a
process some tasks are run in a known order, so that an incompatible version of trio is reported at once.
"""

from __future__ import annotations

import contextlib
import functools
import math
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, final

import trio

if TYPE_CHECKING:
    from trio.testing import MockClock


class Order(Protocol):
    """Decides the order in which a batch of tasks runs."""

    def arrange(self, batch: list[trio.lowlevel.Task]) -> None:
        """Put `batch`, which is sorted by age, in the order in which to run it."""
        ...


class _Shuffler(random.Random):
    """Replaces trio's random generator. Other threads, which may run trio too, get random numbers."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self._order = order
        self._thread = threading.get_ident()

    def shuffle(self, x: Any) -> None:
        if threading.get_ident() != self._thread:
            super().shuffle(x)
        elif len(x) > 1:
            self._order.arrange(x)
            x.reverse()  # trio takes them from the end


@contextlib.contextmanager
def ordered_by(order: Order) -> Iterator[None]:
    """Make trio run tasks in this order, in runs of this thread, for the length of the block.

    Raises: RuntimeError if this version of trio does not support it.
    """
    _check()
    with _in_place(order):
        yield


@contextlib.contextmanager
def _in_place(order: Order) -> Iterator[None]:
    run: Any = trio._core._run
    before = run._r, run._ALLOW_DETERMINISTIC_SCHEDULING
    run._r, run._ALLOW_DETERMINISTIC_SCHEDULING = _Shuffler(order), True
    try:
        yield
    finally:
        run._r, run._ALLOW_DETERMINISTIC_SCHEDULING = before


def jumping_clock() -> MockClock:
    """Return a clock that does not advance while a task can run, and then jumps exactly to the next deadline.

    If there is none, all tasks wait for ever, including cancelled ones that are shielded or cannot be
    cancelled. Then shields are removed, and waits that cannot be cancelled end with an error, so that the
    run ends.
    """
    import trio.testing  # imported late, since it imports pytest

    clock: Any = trio.testing.MockClock(autojump_threshold=0)
    # trio checks that it is a MockClock, which cannot be subclassed. Its own methods, which convert real
    # time, are called so often that they take a tenth of a run.
    methods = _ClockMethods()
    clock.current_time, clock.jump = methods.current_time, methods.jump
    clock.deadline_to_sleep_time, clock._autojump = methods.deadline_to_sleep_time, methods.jump_ahead
    made: MockClock = clock
    return made


@final
class _ClockMethods:
    """The methods of the clock."""

    def __init__(self) -> None:
        self._now = 0.0

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return 0 for a deadline that has passed; otherwise more than any threshold."""
        return 0.0 if deadline <= self._now else 1e9

    def jump(self, seconds: float) -> None:
        self._now += seconds

    def jump_ahead(self) -> None:
        context: Any = trio._core._run.GLOBAL_RUN_CONTEXT
        runner = context.runner
        deadline = runner.deadlines.next_deadline()
        if deadline < math.inf:
            self._now = max(self._now, deadline)
        elif not _take_down_shields(runner.tasks):
            _end_waits(runner)


def _take_down_shields(tasks: set[Any]) -> bool:
    """Return whether there were any."""
    were_any = False
    for task in tasks:
        status = task._cancel_status
        while status is not None:
            if status._scope.shield:
                status._scope.shield, were_any = False, True
            status = status._parent
    return were_any


def _end_waits(runner: Any) -> None:
    run: Any = trio._core._run
    for task in runner.tasks:
        waits_for_children = any(nursery._parent_waiting_in_aexit for nursery in task.child_nurseries)
        if task._cancel_status.effectively_cancelled and not waits_for_children:
            error = RuntimeError(f"{task.name} waits for ever for something that cannot be cancelled")
            runner.reschedule(task, run.Error(error))


@contextlib.contextmanager
def no_threads(refuse: Callable[[], Exception]) -> Iterator[None]:
    """Prevent trio from starting threads for this one in the block; it raises the exception of `refuse`."""
    threads: Any = sys.modules["trio._threads"]
    before, mine = threads.start_thread_soon, threading.get_ident()

    def start_thread_soon(*args: Any, **options: Any) -> None:
        if threading.get_ident() == mine:
            raise refuse()
        before(*args, **options)

    threads.start_thread_soon = start_thread_soon
    try:
        yield
    finally:
        threads.start_thread_soon = before


@functools.cache
def _check() -> None:
    run: Any = trio._core._run
    names = {
        run: ("_r", "_ALLOW_DETERMINISTIC_SCHEDULING", "GLOBAL_RUN_CONTEXT"),
        sys.modules["trio._core._mock_clock"].MockClock: ("_autojump", "current_time", "jump"),
        sys.modules["trio._threads"]: ("start_thread_soon",),
    }
    for owner, wanted in names.items():
        for name in wanted:
            if not hasattr(owner, name):
                raise _changed(f"{owner.__name__}.{name} is not there")
    for newest_first in (False, True):
        if _try_order(newest_first) != ([2, 1, 0] if newest_first else [0, 1, 2]):
            raise _changed("tasks did not run in the given order")


def _changed(what: str) -> RuntimeError:
    return RuntimeError(
        f"triosock cannot simulate with trio {trio.__version__}: {what}. The order of tasks is no public API "
        "of trio; take a version of trio that this version of triosock was tested with, or a newer triosock"
    )


class _Fixed:
    def __init__(self, newest_first: bool) -> None:
        self._newest_first = newest_first

    def arrange(self, batch: list[trio.lowlevel.Task]) -> None:
        if self._newest_first:
            batch.reverse()


def _try_order(newest_first: bool) -> list[int]:
    ran: list[int] = []

    async def note(number: int) -> None:
        ran.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(note, number)

    with _in_place(_Fixed(newest_first)):
        trio.run(main)
    return ran
