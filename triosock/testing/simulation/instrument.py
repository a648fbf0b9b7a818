"""The instrument of a run: writes the journal, injects faults between steps, and calls the checks after
every step.

The invariant: **a fault is injected between two steps**, as by a signal or another task, after a drawn
number of steps; so it can happen at any checkpoint of any task, also where no time passes.

trio drops an instrument that raises, so nothing here raises, and a failed check is kept in `error`.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import final

import trio

from ..leaks import where
from .journal import Journal


@final
class StepInstrument(trio.abc.Instrument):
    """One for each run."""

    def __init__(self, journal: Journal, max_steps: int) -> None:
        self._journal = journal
        self._max_steps = max_steps
        self._injections: collections.defaultdict[int, list[Callable[[], None]]] = collections.defaultdict(
            list
        )
        self._checks: list[Callable[[], None]] = []
        self._settled: list[Callable[[], None]] = []
        self._scope: trio.CancelScope | None = None
        #: The first failed check.
        self.error: Exception | None = None

    def watch(self, scope: trio.CancelScope) -> None:
        """Cancel this scope from now on if a check fails."""
        self._scope = scope

    def inject_after(self, steps: int, action: Callable[[], None]) -> None:
        """Call `action` after so many more steps (from 1 on)."""
        self._injections[self._journal.steps + steps].append(action)

    def check_always(self, check: Callable[[], None]) -> None:
        """Call `check` after every step; it raises if it fails."""
        self._checks.append(check)

    def check_settled(self, check: Callable[[], None]) -> None:
        """Call `check` whenever no task can run, before the clock advances."""
        self._settled.append(check)

    def before_io_wait(self, timeout: float) -> None:
        """Call the checks for a state in which no task can run."""
        if self._scope is None or self.error is not None:
            return
        try:
            for check in self._settled:
                check()
        except Exception as error:  # as below
            self.error = error
            self._scope.cancel(reason="triosock: the simulation has failed")

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count the step, note it, inject faults and call the checks."""
        if self._scope is None or self.error is not None:
            return
        journal = self._journal
        journal.step(task)
        try:
            for action in self._injections.pop(journal.steps, ()):
                action()
            for check in self._checks:
                check()
            if journal.steps > self._max_steps:
                raise AssertionError(
                    f"the run took more than {self._max_steps} steps, the last one {where(task)}: it may "
                    "loop for ever; if not, raise max_steps"
                )
        except Exception as error:  # a check may raise anything, and trio must not see it
            self.error = error
            self._scope.cancel(reason="triosock: the simulation has failed")
