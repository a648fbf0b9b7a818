"""`simulate`: one scenario under many seeds, and what is said about the first that fails."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, final

import attrs
import trio

from .choices import Choices, recorded, seeded
from .errors import NotDeterministic, NotSimulated, SimulationFailed
from .faults import Faults
from .journal import first_difference
from .picture import picture_of
from .report import failure_text
from .run import MAX_SECONDS, MAX_STEPS, Outcome, Plan, Scenario, run
from .shrink import shorten

#: How many seeds are run if nobody says.
SEEDS: Final = 200
#: For how many seconds of the wall clock a failure is made simpler.
SHRINKING: Final = 10.0


@final
@attrs.frozen(kw_only=True)
class Simulation:
    """What was simulated, if nothing failed: `runs`, their `steps`, `seconds` of the world's clock, how often
    each kind of fault struck (`faults`), the `digests` of the runs, by seed.
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
      seeds: how many (from 0 on), or which.
      faults: how much goes wrong; None for nothing, but that the order of tasks comes from the seed.
      tape: run this schedule, which a failure has told, instead of seeds.
      choices: run what Hypothesis draws (`drawn(data.draw)`), once, instead of seeds. What fails is raised as
        it is, for Hypothesis to make simpler.
      max_seconds: of the world's clock, after which a run must be over.
      max_steps: of all tasks together, likewise.
      within: no further seed is begun after so many seconds of the wall clock; None for no bound.
      shrink: for how many seconds of the wall clock a failure is made simpler; 0 for not at all.
      digests: keep the hash of each run.
      again: the command that runs one seed again, up to the seed's number, for the report of a failure; None
        for a call of this function.
      pictures: a folder, for a picture of a run that fails, and a page to step through it (HTML); it is made
        if it is not there.

    Returns: what was simulated.

    Raises: SimulationFailed for a run that failed, with what it raised as the cause; NotDeterministic if the
    same seed then gave another run; NotSimulated if the scenario did something for real; RuntimeError in a
    trio program, since this runs one of its own.
    """
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("simulate() runs a trio program of its own: call it from a plain function")
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
    deadline = None if within is None else time.monotonic() + within
    outcomes: list[tuple[int, Outcome]] = []
    summary = Simulation()
    for seed in seeds:
        if deadline is not None and time.monotonic() > deadline:
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
        raise TypeError(f"seeds must be how many, or several numbers, not {seeds!r}")
    if isinstance(seeds, int):
        if seeds < 0:
            raise ValueError(f"seeds must be from 0 on, not {seeds}")
        return range(seeds)
    return seeds


def _sum(
    outcomes: list[tuple[int, Outcome]], summary: Simulation | None = None, *, digests: bool
) -> Simulation:
    summary = summary or Simulation()
    struck = sum((outcome.struck for _, outcome in outcomes), Counter(summary.faults))
    return Simulation(
        runs=summary.runs + len(outcomes),
        steps=summary.steps + sum(outcome.journal.steps for _, outcome in outcomes),
        seconds=summary.seconds + sum(outcome.seconds for _, outcome in outcomes),
        faults=struck,
        digests=summary.digests
        | ({seed: outcome.journal.digest() for seed, outcome in outcomes} if digests else {}),
    )


def _simulate_once(plan: Plan, choices: Choices, *, quiet: bool) -> Simulation:
    outcome = run(plan, choices, quiet=quiet)
    if outcome.error is not None:
        raise outcome.error
    return _sum([(0, outcome)], digests=False)


def _fail(plan: Plan, seed: int, outcome: Outcome, shrink: float) -> None:
    """Say everything about a seed that failed; raises in any case."""
    assert outcome.error is not None
    if isinstance(outcome.error, NotSimulated):
        raise outcome.error
    again, once_more = (run(plan, seeded(seed), seed=seed, located=True) for _ in range(2))
    for one, other in ((again, once_more), (outcome, again)):
        difference = first_difference(one.journal, other.journal)
        if difference is not None:
            raise NotDeterministic(
                f"seed {seed} failed ({outcome.error!r}), and is not the same run each time: something in "
                f"the scenario or its handlers depends on what no seed decides (the wall clock, hashes of "
                f"objects, threads, the system). The runs part {difference}"
            ) from outcome.error
    tape, notes = shorten(plan, outcome, shrink)
    told, picture = picture_of(plan, recorded(tape), seed)
    raise SimulationFailed(
        failure_text(plan, seed, outcome, told, notes, picture), seed, told.tape
    ) from told.error
