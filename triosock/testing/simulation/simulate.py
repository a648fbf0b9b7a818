"""`simulate`: runs one scenario with many seeds, and reports the first that fails."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, final

import attrs
import trio

from ..._core.model.checks import check_seconds
from .choices import Choices, recorded, seeded
from .errors import NotDeterministic, NotSimulated, SimulationFailed
from .faults import Faults
from .journal import first_difference
from .picture import picture_of
from .report import failure_text
from .run import MAX_SECONDS, MAX_STEPS, Outcome, Plan, Scenario, run
from .shrink import shorten

#: The default number of seeds.
SEEDS: Final = 200
#: Seconds of the wall clock for shrinking a failure.
SHRINKING: Final = 10.0


@final
@attrs.frozen(kw_only=True)
class Simulation:
    """The result of a simulation without a failure: `runs`, their `steps`, `seconds` of the world's clock,
    the count of each kind of fault (`faults`), the `digests` of the runs, by seed.
    """

    runs: int = 0
    steps: int = 0
    seconds: float = 0.0
    faults: Counter[str] = attrs.field(factory=Counter)
    digests: dict[int, str] = attrs.field(factory=dict, repr=False)

    def __str__(self) -> str:
        faults = ", ".join(f"{number} {kind}" for kind, number in sorted(self.faults.items()))
        return (
            f"{self.runs} runs, {self.steps} steps, {self.seconds:.0f} s simulated; {faults or 'no faults'}"
        )


def simulate(
    scenario: Scenario,
    *,
    seeds: int | Iterable[int] = SEEDS,
    faults: Faults | None = None,
    tape: Sequence[int] | None = None,
    choices: Choices | None = None,
    max_seconds: float = MAX_SECONDS,
    max_steps: int = MAX_STEPS,
    within: float | None = None,
    shrink: float = SHRINKING,
    digests: bool = False,
    again: str | None = None,
    pictures: str | os.PathLike[str] | None = None,
) -> Simulation:
    """Run `scenario` in a simulated world once for each seed; the first one that fails is reported.

    Args:
      scenario: an async function of a `World`.
      seeds: the number of seeds (from 0 on), or several seeds.
      faults: the amount of each fault; None for none: then only the order of tasks comes from the seed.
      tape: run this schedule, from the report of a failure, once, instead of seeds. Its exception is raised
        unchanged.
      choices: run choices drawn by Hypothesis (`drawn(data.draw)`), once, instead of seeds. The exception is
        raised unchanged, for Hypothesis to shrink.
      max_seconds: the maximum of seconds of a run, on the world's clock.
      max_steps: the maximum of steps of all tasks of a run together.
      within: no further seed is started after so many seconds of the wall clock, but always one; None for no
        bound.
      shrink: seconds of the wall clock for shrinking a failure; 0 for no shrinking.
      digests: keep the hash of each run.
      again: the command that runs one seed again, without the seed, for the report of a failure; None for a
        call of this function.
      pictures: a folder for a picture of a failing run, and a page to step through it (HTML); it is created
        if it does not exist.

    Returns: the totals of all runs.

    Raises: TypeError, ValueError; SimulationFailed for a seed that failed, with its exception as the cause;
    NotDeterministic if the same seed then gave another run; NotSimulated if the scenario used a real thread,
    socket, process or sleep; RuntimeError in a trio program, since this function runs its own, and with a
    version of trio that cannot be simulated; KeyboardInterrupt, and what `pytest.skip` and `pytest.xfail`
    raise, at once.
    """
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("simulate() runs its own trio program: call it from a plain function")
    plan = Plan(
        scenario=scenario,
        faults=faults or Faults(),
        max_seconds=max_seconds,
        max_steps=max_steps,
        again=again,
        pictures=None if pictures is None else Path(pictures),
    )
    if choices is None and tape is not None:
        choices = recorded(tape)
    if choices is not None:
        return _simulate_once(plan, choices, quiet=tape is None)
    return _simulate_seeds(plan, _numbers(seeds), within, shrink, digests)


def _simulate_seeds(
    plan: Plan, seeds: Iterable[int], within: float | None, shrink: float, digests: bool
) -> Simulation:
    check_seconds(shrink, "shrink", zero=True)
    deadline = time.monotonic() + (math.inf if within is None else check_seconds(within, "within", zero=True))
    outcomes: list[tuple[int, Outcome]] = []
    summary = Simulation()
    for seed in seeds:
        if time.monotonic() > deadline and (outcomes or summary.runs):
            break
        outcome = run(plan, seeded(seed), seed=seed)
        if outcome.error is not None:
            _fail(plan, seed, outcome, shrink)
        outcomes.append((seed, outcome))
        if len(outcomes) == 100:
            summary, outcomes = _sum(outcomes, summary, digests=digests), []
    return _sum(outcomes, summary, digests=digests)


def _numbers(seeds: int | Iterable[int]) -> Iterable[int]:
    if isinstance(seeds, bool):
        raise TypeError(f"seeds must be a number of seeds, or several seeds, not {seeds!r}")
    if isinstance(seeds, int):
        if seeds < 0:
            raise ValueError(f"seeds must be from 0 on, not {seeds}")
        return range(seeds)
    return seeds


def _sum(
    outcomes: list[tuple[int, Outcome]], summary: Simulation | None = None, *, digests: bool
) -> Simulation:
    summary = summary or Simulation()
    fault_counts = sum((outcome.fault_counts for _, outcome in outcomes), Counter(summary.faults))
    return Simulation(
        runs=summary.runs + len(outcomes),
        steps=summary.steps + sum(outcome.journal.steps for _, outcome in outcomes),
        seconds=summary.seconds + sum(outcome.seconds for _, outcome in outcomes),
        faults=fault_counts,
        digests=summary.digests
        | ({seed: outcome.journal.digest() for seed, outcome in outcomes} if digests else {}),
    )


def _simulate_once(plan: Plan, choices: Choices, *, quiet: bool) -> Simulation:
    outcome = run(plan, choices, quiet=quiet)
    if outcome.error is not None:
        raise outcome.error
    return _sum([(0, outcome)], digests=False)


def _fail(plan: Plan, seed: int, outcome: Outcome, shrink: float) -> None:
    """Report a seed that failed. Always raises."""
    assert outcome.error is not None
    if isinstance(outcome.error, NotSimulated):
        raise outcome.error
    again, once_more = (run(plan, seeded(seed), seed=seed, located=True) for _ in range(2))
    for one, other in ((again, once_more), (outcome, again)):
        difference = first_difference(one.journal, other.journal)
        if difference is not None:
            raise NotDeterministic(
                f"seed {seed} failed ({outcome.error!r}), and gives different runs: something in "
                f"the scenario or its handlers depends on more than the seed (the wall clock, hashes of "
                f"objects, threads, the system). The runs differ {difference}"
            ) from outcome.error
    tape, notes = shorten(plan, outcome, shrink)
    told, pictures = picture_of(plan, recorded(tape), seed)
    raise SimulationFailed(
        failure_text(plan, seed, outcome, told, notes, pictures), seed, told.tape
    ) from told.error
