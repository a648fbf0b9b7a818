"""Simulates all scenarios, one seed of each in turn, until one fails: the process of one fault.

Prints one line: found or not, how many replays were the same, of how many, and cells of a table.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings

from tests.simulation.library import SCENARIOS
from triosock.testing.simulation.choices import seeded
from triosock.testing.simulation.run import Outcome, Plan, run


def hunt(seeds: int, seconds: float) -> tuple[str, Plan, int, int, float, Outcome] | None:
    began, runs = time.monotonic(), 0
    plans = {name: Plan(scenario=scenario, faults=faults) for name, (scenario, faults) in SCENARIOS.items()}
    for seed in range(seeds):
        for name, plan in plans.items():
            if time.monotonic() - began > seconds:
                return None
            runs += 1
            outcome = run(plan, seeded(seed), seed=seed)
            if outcome.error is not None:
                return name, plan, seed, runs, time.monotonic() - began, outcome
    return None


def main(seeds: int, seconds: float, replays: int) -> None:
    warnings.simplefilter("ignore")  # a fault may leave something unawaited: here the run counts
    logging.disable()
    found = hunt(seeds, seconds)
    if found is None:
        print(f"missed\t0\t0\tnothing | | | {seconds:g}")
        return
    name, plan, seed, runs, took, outcome = found
    digest, error = outcome.journal.digest(), repr(outcome.error)
    again = [run(plan, seeded(seed), seed=seed) for _ in range(replays)]
    same = sum(one.journal.digest() == digest and repr(one.error) == error for one in again)
    print(f"found\t{same}\t{replays}\t{name} | {seed} | {runs} | {took:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
