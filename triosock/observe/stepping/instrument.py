"""The instrument of one trio run: makes happenings of trio's callbacks.

trio calls it when a task is started, is runnable, runs, stops, and has ended. When a task stops, the
instrument also reads its stack, its deadline, its nurseries, and the nursery that it is in. The invariants:

1. **A task is referenced only until it ends**, and an exception that it has raised not at all.
2. **A nursery is referenced until the next stop of its task after its end**, so that a new nursery at the
   same address is not taken for it.
3. trio's first task `<init>` and its system tasks are not part of the program, and are left out.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, final

import attrs
import trio

from ..text import error_text, printable
from ..timeline.runs import this_run
from . import trio_internals
from .endings import address_of_source, how_failed, is_cancelled, why_cancelled
from .keeper import Keeper
from .model import Happening, Kind

#: Ended tasks that may still be named as the source of a cancellation.
MAX_ENDED: Final = 1_000
_OTHERS: Final = 0


@attrs.define(eq=False)
class _Bracket:
    """A nursery, and the number of exceptions that its tasks have raised."""

    number: int
    errors: int = 0


@attrs.define(eq=False)
class _Known:
    """A task that has not ended."""

    number: int
    nursery: trio.Nursery
    begun: bool = False
    #: It became runnable in its own step: it only let others run, or was cancelled when it began to wait.
    goes_on: bool = False
    thrown: BaseException | None = None
    nurseries: list[trio.Nursery] = attrs.field(factory=list)


@final
class RunInstrument(trio.abc.Instrument):
    """Observes one trio run until the recorder has stopped."""

    def __init__(self, keeper: Keeper, instruments: dict[object, RunInstrument]) -> None:
        """`instruments` has the instrument of each run, as long as the run lasts."""
        self._keeper = keeper
        self._instruments = instruments
        self._run: object = None
        self._tasks: dict[trio.lowlevel.Task, _Known] = {}
        self._brackets: dict[trio.Nursery, _Bracket] = {}
        self._ended: OrderedDict[int, int] = OrderedDict()
        self._offset: float | None = None
        #: Cancellations of the siblings of a failing task, which trio reports before the failure itself.
        self._held: list[Happening] = []
        #: The name of the next task: that of a connection which was just accepted.
        self.next_name: str | None = None

    def attach(self) -> None:
        """Begin in the middle of a run: record all tasks that exist already."""
        trio.lowlevel.add_instrument(self)
        root = trio.lowlevel.current_root_task()
        todo = [] if root is None else [root]
        while todo:
            for nursery in todo.pop().child_nurseries:
                for task in sorted(nursery.child_tasks, key=lambda task: task.name):
                    self._spawn(task, here=False)
                    todo.append(task)
        for task, known in self._tasks.items():
            known.begun = True
            self._note("run" if task is trio.lowlevel.current_task() else "wait", known, task)

    def detach(self) -> None:
        """Stop observing, in the thread of the run."""
        self.after_run()
        try:
            trio.lowlevel.remove_instrument(self)
        except KeyError:
            pass  # it has raised, and trio has removed it

    def number_of_current(self) -> int | None:
        """Return the number of the task that runs; None without one, 0 for trio's system tasks."""
        try:
            known = self._tasks.get(trio.lowlevel.current_task())
        except RuntimeError:
            return None
        return _OTHERS if known is None else known.number

    def time(self) -> float:
        """Return the time of the recorder."""
        now = trio.current_time()
        if self._offset is None:
            self._offset = self._keeper.place_run(now)
            self._run = this_run()
            self._instruments[self._run] = self
        return now + self._offset

    # Callbacks of trio

    def after_run(self) -> None:
        """The run has ended."""
        self._instruments.pop(self._run, None)

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """A task is started."""
        if self._keeper.stopped:
            self.detach()
        else:
            self._spawn(task, here=True)

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """A task is runnable: it is new, its wait is over, or it is cancelled."""
        known = self._tasks.get(task)
        if known is None:
            return
        if not known.begun:
            known.begun = True
            return
        thrown, by = trio_internals.thrown(task), self.number_of_current()
        if by == known.number:
            known.goes_on, known.thrown = True, thrown
        else:
            self._wake(task, known, thrown, by)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task runs until its next checkpoint."""
        known = self._tasks.get(task)
        if known is not None:
            self._keeper.add(Happening(self.time(), "run", known.number))

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task has stopped. If it has ended, `task_exited` has removed it before."""
        if self._keeper.stopped:
            self.detach()
            return
        self._let_go()
        known = self._tasks.get(task)
        if known is None:
            return
        self.next_name = None
        self._look_at_brackets(task, known)
        thrown, goes_on = known.thrown, known.goes_on
        known.thrown, known.goes_on = None, False
        self._note("pause" if goes_on and thrown is None else "wait", known, task)
        if thrown is not None:
            self._wake(task, known, thrown, known.number)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """A task has ended, in its last step."""
        known = self._tasks.get(task)
        if known is None:
            return
        self._look_at_brackets(task, known)
        for nursery in known.nurseries:
            self._close(known, nursery)
        del self._tasks[task]
        self._ended[id(task)] = known.number
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
        self._end(known, self._error_of(task, known))
        self._let_go()

    # Happenings

    def _spawn(self, task: trio.lowlevel.Task, *, here: bool) -> None:
        nursery = task.parent_nursery
        if nursery is None or (nursery.parent_task.parent_nursery is None and task.name.startswith("<")):
            return
        bracket = self._bracket(nursery)
        known = self._tasks[task] = _Known(self._keeper.next_task(), nursery)
        name, self.next_name = self.next_name or printable(task.name), None
        where = self._keeper.stacks.of_caller() if here else None
        by = self.number_of_current() if here else None
        self._keeper.add(Happening(self.time(), "spawn", known.number, by, where, bracket.number, name))

    def _bracket(self, nursery: trio.Nursery) -> _Bracket:
        found = self._brackets.get(nursery)
        if found is None:
            owner = self._tasks.get(nursery.parent_task)
            found = self._brackets[nursery] = _Bracket(self._keeper.next_nursery() if owner else 0)
            if owner is not None:
                owner.nurseries.append(nursery)
                self._keeper.add(Happening(self.time(), "open", owner.number, other=found.number))
        return found

    def _look_at_brackets(self, task: trio.lowlevel.Task, known: _Known) -> None:
        parent = task.parent_nursery
        if parent is not None and parent is not known.nursery:
            known.nursery = parent
            self._keeper.add(
                Happening(self.time(), "started", known.number, other=self._bracket(parent).number)
            )
        now = task.child_nurseries
        for nursery in [one for one in known.nurseries if one not in now]:
            self._close(known, nursery)
        known.nurseries = [one for one in known.nurseries if one in now]
        for nursery in now:
            self._bracket(nursery).errors = len(trio_internals.errors_in(nursery))

    def _close(self, known: _Known, nursery: trio.Nursery) -> None:
        number = self._brackets.pop(nursery).number
        self._keeper.add(Happening(self.time(), "close", known.number, other=number))

    def _note(self, kind: Kind, known: _Known, task: trio.lowlevel.Task) -> None:
        deadline = None
        if kind == "wait":
            until = _deadline(task)
            deadline = None if until is None else until + (self._offset or 0.0)
        stack = self._keeper.stacks.of_task(task)
        self._keeper.add(Happening(self.time(), kind, known.number, stack=stack, deadline=deadline))

    def _wake(
        self, task: trio.lowlevel.Task, known: _Known, thrown: BaseException | None, by: int | None
    ) -> None:
        now = self.time()
        if not isinstance(thrown, trio.Cancelled):
            self._keeper.add(Happening(now, "wake", known.number, by, text=error_text(thrown)))
            return
        scope, is_innermost = trio_internals.struck_scope(task)
        if thrown.source == "deadline" and is_innermost and _sleeps(task):
            self._keeper.add(Happening(now, "wake", known.number, by, text="its time is over"))
            return
        bracket = next((one.number for of, one in self._brackets.items() if of.cancel_scope is scope), None)
        source = self._number_at(address_of_source(thrown))
        where = None
        if thrown.source == "explicit":
            stacks = self._keeper.stacks
            where = stacks.of_canceller() or (
                stacks.of_forced_close(task) if source == known.number else None
            )
        one = Happening(now, "cancel", known.number, source, where, bracket, why_cancelled(thrown))
        if thrown.source == "nursery" and source == by:
            self._held.append(one)
        else:
            self._keeper.add(one)

    def _let_go(self) -> None:
        for one in self._held:
            self._keeper.add(one)
        self._held.clear()

    def _number_at(self, address: int | None) -> int | None:
        if address is None:
            return None
        living = (known.number for task, known in self._tasks.items() if id(task) == address)
        return next(living, self._ended.get(address, _OTHERS))

    def _error_of(self, task: trio.lowlevel.Task, known: _Known) -> BaseException | None:
        error = trio_internals.error_of_main(task)
        bracket, errors = self._brackets.get(known.nursery), trio_internals.errors_in(known.nursery)
        if bracket is not None and len(errors) > bracket.errors:
            bracket.errors = len(errors)
            error = error or errors[-1]
        return error

    def _end(self, known: _Known, error: BaseException | None) -> None:
        now = self.time()
        if error is None:
            self._keeper.add(Happening(now, "end", known.number))
        elif is_cancelled(error):
            self._keeper.add(Happening(now, "gone", known.number))
        else:
            where = self._keeper.stacks.of_error(error.__traceback__)
            self._keeper.add(Happening(now, "fail", known.number, stack=where, text=how_failed(error)))


def _deadline(task: trio.lowlevel.Task) -> float | None:
    """Return the effective deadline of a task that stops now; None without one."""
    try:
        if task is not trio.lowlevel.current_task():
            return None
        until = trio.current_effective_deadline()
    except RuntimeError:
        return None
    return until if abs(until) != float("inf") else None


def _sleeps(task: trio.lowlevel.Task) -> bool:
    names = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
    return "sleep_until" in names[-5:]
