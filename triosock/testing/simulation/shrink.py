"""Finds the shortest schedule that still fails, by Hypothesis.

A failing run has its choices on a tape. Hypothesis gets that tape as if it were its own example from an
earlier session, and shrinks it: it deletes and lowers choices, as with any example, and every 0 is a fault
less.

Hypothesis reads examples from its database in a format of its own, `hypothesis.database.choices_to_bytes`,
which is no public API. Without it, or without Hypothesis, the schedule is not shrunk, and the report says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from .choices import Choices, drawn
from .run import Outcome, Plan, run

if TYPE_CHECKING:
    from hypothesis import settings
    from hypothesis.database import ExampleDatabase

#: More than Hypothesis tries in the available time.
_MOST_EXAMPLES: Final = 100_000


class _TimeOver(BaseException):
    """The time is over. It is no Exception, so that Hypothesis does not take it for a failure."""


def shorten(plan: Plan, outcome: Outcome, seconds: float) -> tuple[tuple[int, ...], str]:
    """Return the shortest tape that fails as `outcome` did, and a note on how it was found."""
    if seconds <= 0:
        return outcome.tape, "not shrunk, as requested"
    try:
        from hypothesis.database import choices_to_bytes
    except ImportError as error:
        return outcome.tape, f"not shrunk: {error}"
    search = _Search(plan, outcome, time.monotonic() + seconds)
    # One choice too many: Hypothesis would take an exact example for one that it has shrunk before.
    saved = choices_to_bytes((*outcome.tape, 0))
    try:
        _shrink(search.attempt, saved)
    except AssertionError:
        pass  # the failure of the smallest example
    except BaseException:
        # `_TimeOver`, or Hypothesis's error for a test that ends before it has drawn anything.
        if not search.is_over:
            raise
    return search.best, f"shrunk in {search.runs} runs{', until the time was over' * search.is_over}"


class _Search:
    """The state of a search: the best tape that failed."""

    def __init__(self, plan: Plan, outcome: Outcome, deadline: float) -> None:
        self._plan = plan
        self._kind = type(outcome.error)
        self._deadline = deadline
        self.best: tuple[int, ...] = outcome.tape
        self.runs = 0
        self.is_over = False

    def attempt(self, choices: Choices) -> None:
        """Run once. Raises: AssertionError if it fails as the seed did."""
        if time.monotonic() > self._deadline:
            self.is_over = True
            raise _TimeOver
        self.runs += 1
        outcome = run(self._plan, choices)
        if type(outcome.error) is self._kind:
            if _size(outcome.tape) < _size(self.best):
                self.best = outcome.tape
            raise AssertionError("it fails")


def _size(tape: Sequence[int]) -> tuple[int, int, list[int]]:
    """Return the order of schedules: by choices that are not 0, then by all choices, then by their values."""
    return sum(map(bool, tape)), len(tape), list(tape)


def _shrink(attempt: Callable[[Choices], None], saved: bytes) -> None:
    import hypothesis
    from hypothesis import strategies
    from hypothesis.database import ExampleDatabase

    class Saved(ExampleDatabase):
        """A database that returns one example for every key, and stores nothing."""

        def fetch(self, key: bytes) -> Iterable[bytes]:
            return [saved]

        def save(self, key: bytes, value: bytes) -> None:
            pass

        def delete(self, key: bytes, value: bytes) -> None:
            pass

    def once(data: strategies.DataObject) -> None:
        attempt(drawn(data.draw))

    _settings(Saved())(hypothesis.seed(0)(hypothesis.given(strategies.data())(once)))()


def _settings(database: ExampleDatabase) -> settings:
    import hypothesis

    every: Any = hypothesis.HealthCheck
    return hypothesis.settings(
        database=database,
        deadline=None,
        max_examples=_MOST_EXAMPLES,
        phases=[hypothesis.Phase.reuse, hypothesis.Phase.shrink],
        suppress_health_check=list(every),
        report_multiple_bugs=False,
        verbosity=hypothesis.Verbosity.quiet,
        print_blob=False,
    )
