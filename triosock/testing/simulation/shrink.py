"""The shortest schedule that still fails, found by Hypothesis.

How: a failing run has left its choices on a tape. Hypothesis is given that tape as if it were its own example
from an earlier session, and asked to make it smaller: it deletes choices, lowers them, and tries blocks of
them, as with any example, and every 0 is a kindness of the world.

Hypothesis reads examples from its database in a format of its own, `hypothesis.database.choices_to_bytes`,
which is no public API. If it is not there, or Hypothesis is not, the schedule stays as long as it was found,
and the report says so.
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

#: More than Hypothesis tries in the time that it is given.
_MOST_EXAMPLES: Final = 100_000


class _Enough(BaseException):
    """The time is over. No Exception, so that Hypothesis does not take it for a failure."""


def shorten(plan: Plan, outcome: Outcome, seconds: float) -> tuple[tuple[int, ...], str]:
    """Return the shortest tape that fails as `outcome` did, and in words how it was found."""
    if seconds <= 0:
        return outcome.tape, "not made simpler, as was asked for"
    try:
        from hypothesis.database import choices_to_bytes
    except ImportError as error:
        return outcome.tape, f"not made simpler: {error}"
    search = _Search(plan, outcome, time.monotonic() + seconds)
    # One choice too many: Hypothesis takes an example that is exact for one that it has made smaller before.
    saved = choices_to_bytes((*outcome.tape, 0))
    try:
        _shrink(search.attempt, saved)
    except AssertionError:
        pass  # the failure of the smallest example
    except BaseException:
        # That, or Hypothesis's surprise that a test ends before it has drawn anything.
        if not search.is_over:
            raise
    return search.best, f"made simpler in {search.runs} runs{', until the time was over' * search.is_over}"


class _Search:
    """What was tried, and the best that failed."""

    def __init__(self, plan: Plan, outcome: Outcome, deadline: float) -> None:
        self._plan = plan
        self._kind = type(outcome.error)
        self._deadline = deadline
        self.best: tuple[int, ...] = outcome.tape
        self.runs = 0
        self.is_over = False

    def attempt(self, choices: Choices) -> None:
        """Run once; raises AssertionError if it fails as the seed did."""
        if time.monotonic() > self._deadline:
            self.is_over = True
            raise _Enough
        self.runs += 1
        outcome = run(self._plan, choices)
        if type(outcome.error) is self._kind:
            if _size(outcome.tape) < _size(self.best):
                self.best = outcome.tape
            raise AssertionError("it fails")


def _size(tape: Sequence[int]) -> tuple[int, int, list[int]]:
    """What makes a schedule shorter: fewer choices that matter, then fewer choices, then smaller ones."""
    return sum(map(bool, tape)), len(tape), list(tape)


def _shrink(attempt: Callable[[Choices], None], saved: bytes) -> None:
    import hypothesis
    from hypothesis import strategies
    from hypothesis.database import ExampleDatabase

    class Saved(ExampleDatabase):
        """Has the one example, whatever is asked for, and keeps nothing."""

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
