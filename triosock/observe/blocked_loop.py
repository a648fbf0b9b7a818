"""Reports tasks that block the event loop of a trio run, since they run for long without a checkpoint, with
their stacks.

An instrument counts the steps of tasks, and a thread checks the count. `_core/inspect/step_watch.py` has the
cost, and the reason why a report is certain.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, final

import attrs
import trio

from .._core.inspect.step_watch import StepWatch
from .._core.model.checks import check_seconds
from .text import printable

#: Places that are remembered, and seconds until the same place is reported again.
PLACES: Final = 100
AGAIN: Final = 60.0
#: Frames of a stack that are reported, the innermost ones.
MAX_FRAMES: Final = 50

_logger: Final = logging.getLogger("triosock")


@final
@attrs.frozen(kw_only=True)
class BlockedLoop:
    """The report of a task that blocks the loop: the name of the `task`, the `seconds` for which it has run
    without a checkpoint at least, and its `stack`: the 50 innermost frames, the innermost last, each as
    `traceback` formats it.
    """

    task: str
    seconds: float
    stack: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the event loop is blocked: {printable(self.task)} has run for {self.seconds:g} s without a "
            "checkpoint, and nothing else can run meanwhile. What blocks belongs into "
            "trio.to_thread.run_sync(). This is where it is, most recent call last:\n" + "".join(self.stack)
        )


def _log(blocked: BlockedLoop) -> None:
    _logger.warning("%s", blocked)


@contextmanager
def watch_blocked_loop(
    after: float = 0.5, *, report: Callable[[BlockedLoop], object] = _log
) -> Iterator[None]:
    """Watch the trio run that this block is in, for tasks that run for `after` seconds without a checkpoint.

    Args:
      after: seconds, above 0.
      report: a function that is called in the watch thread while the loop is blocked; the default writes a
        warning to the logger "triosock". An `Exception` that it raises is printed. Each line of code is
        reported at most once a minute, and at most 100 lines of code in a minute.

    The watch is one thread, which ends with the block. It costs about half a microsecond for each step of a
    task. C code that holds the GIL delays the report until it releases it.

    Raises: TypeError, ValueError; RuntimeError outside of a trio run.
    """
    after = check_seconds(after, "after")
    if not callable(report):
        raise TypeError(f"report must be a function of one BlockedLoop, not {report!r}")
    watch = _Watch(report)
    steps = _Steps(watch)
    trio.lowlevel.add_instrument(steps)
    try:
        watch.begin(min(after, threading.TIMEOUT_MAX))
        try:
            yield
        finally:
            watch.end(min(after, threading.TIMEOUT_MAX))
    finally:
        trio.lowlevel.remove_instrument(steps)


@final
class _Steps(trio.abc.Instrument):
    def __init__(self, watch: _Watch) -> None:
        self._watch = watch

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        watch = self._watch
        # This is `watch.enter()`, for each step of each task.
        watch.running = task
        watch.steps += 1
        if watch.is_asleep:
            watch.wake()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._watch.running = None


@final
class _Watch(StepWatch[trio.lowlevel.Task]):
    __slots__ = ("_report", "_told")

    def __init__(self, report: Callable[[BlockedLoop], object]) -> None:
        super().__init__()
        self._report = report
        self._told: dict[tuple[str, int], float] = {}

    def tell(
        self, running: trio.lowlevel.Task, frame: FrameType, after: float, is_certain: Callable[[], bool]
    ) -> None:
        stack = _tasks_part(frame)
        lines = traceback.StackSummary.extract(((one, one.f_lineno) for one in stack), lookup_lines=False)
        if not is_certain() or not lines:
            return
        if self._was_told((lines[-1].filename, lines[-1].lineno or 0)):
            return
        blocked = BlockedLoop(task=running.name, seconds=after, stack=tuple(lines.format()[-MAX_FRAMES:]))
        try:
            self._report(blocked)
        except Exception:  # whatever it is: the watch goes on
            traceback.print_exc()

    def _was_told(self, place: tuple[str, int]) -> bool:
        now = time.monotonic()
        if now - self._told.get(place, -AGAIN) < AGAIN:
            return True
        if len(self._told) >= PLACES:
            self._told = {one: when for one, when in self._told.items() if now - when < AGAIN}
        if len(self._told) >= PLACES:
            return True
        self._told[place] = now
        return False


def _tasks_part(frame: FrameType | None) -> list[FrameType]:
    """Return the frames of the task, the outermost first, without those of the run loop."""
    found: list[FrameType] = []
    while frame is not None and frame.f_globals.get("__name__") != "trio._core._run":
        found.append(frame)
        frame = frame.f_back
    return found[::-1]
