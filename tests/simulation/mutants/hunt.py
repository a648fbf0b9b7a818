"""Simulates all scenarios of a copy of the library: the process of one fault.

    hunt SEEDS SECONDS      one seed of each scenario in turn, until one fails
    hunt SCENARIO SEED      that one run

Prints one line, its fields separated by tabs: the scenario, the seed, the kind of the error, the hash of
the run, runs, seconds; or nothing, if nothing was found.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings

from tests.simulation.library import SCENARIOS
from triosock.testing.simulation.choices import seeded
from triosock.testing.simulation.run import Plan, run


def run_one(name: str, seed: int) -> str | None:
    """Return what is printed of a run that fails; None if it passes."""
    scenario, faults = SCENARIOS[name]
    outcome = run(Plan(scenario=scenario, faults=faults), seeded(seed), seed=seed)
    if outcome.error is None:
        return None
    return "\t".join((name, str(seed), type(outcome.error).__name__, outcome.journal.digest()))


def hunt(seeds: int, seconds: float) -> str | None:
    """Return what was found."""
    began, runs = time.monotonic(), 0
    for seed in range(seeds):
        for name in SCENARIOS:
            if time.monotonic() - began > seconds:
                return None
            runs += 1
            if (found := run_one(name, seed)) is not None:
                return f"{found}\t{runs}\t{time.monotonic() - began:.1f}"
    return None


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # a fault may leave something unawaited: here the run counts
    logging.disable()
    first, second = sys.argv[1:]
    found = run_one(first, int(second)) if first in SCENARIOS else hunt(int(first), float(second))
    if found is not None:
        print(found)
