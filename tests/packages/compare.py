"""What counts as a new failure: a test that passed in every run with the standard library, and in no run with
compat. One that passed in some runs only is told as unsteady. A test that is not reported has not passed.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .outcomes import Outcomes


@attrs.frozen
class Verdict:
    """The two sides of one package.

    Attributes:
        stdlib: how many tests passed with the standard library, in its first run.
        compat: the same with compat.
        total: how many tests there are.
        new: the names of the tests that compat breaks.
        unsteady: the names of those whose outcome differs between runs of the same kind.
        servers: how many sockets the servers of the first run with compat bound.
    """

    stdlib: int
    compat: int
    total: int
    new: list[str]
    unsteady: list[str]
    servers: int = 0


def differs(stdlib: Outcomes, compat: Outcomes) -> bool:
    """Whether it takes more runs to tell a new failure from an unsteady test."""
    return passed(stdlib) != passed(compat)


def passed(outcomes: Outcomes) -> set[str]:
    """Return the names of the tests that passed."""
    return {name for name, outcome in outcomes.items() if outcome == "passed"}


def judge(stdlib: Sequence[Outcomes], compat: Sequence[Outcomes], servers: int = 0) -> Verdict:
    """Compare runs of the same tests. There is at least one of each kind."""
    before, after = [passed(one) for one in stdlib], [passed(one) for one in compat]
    new = set.intersection(*before) - set.union(*after)
    unsteady = (set.union(*before) - set.intersection(*before)) | (
        set.union(*after) - set.intersection(*after)
    )
    return Verdict(
        stdlib=len(before[0]),
        compat=len(after[0]),
        total=len(set(stdlib[0]) | set(compat[0])),
        new=sorted(new),
        unsteady=sorted(unsteady),
        servers=servers,
    )
