"""The same seed is the same run: in this process, and in others with other hashes."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.simulation import green_scenarios, scenarios
from tests.simulation.scenarios import carelessness
from triosock.testing.simulation import Faults, SimulationFailed, World, simulate
from triosock.testing.simulation.choices import seeded
from triosock.testing.simulation.run import Plan, run

ROOT = Path(__file__).parents[2]
PROGRAM = """
import importlib, sys
from triosock.testing import Faults, simulate
shouting, seeds = importlib.import_module(sys.argv[1]).shouting, int(sys.argv[2])
for number, digest in simulate(shouting, seeds=seeds, faults=Faults.all(), digests=True).digests.items():
    print(number, digest)
"""
REPLAY = """
import sys
from tests.simulation import test_determinism
print(*(test_determinism.digest_of(int(sys.argv[1])) for _ in range(25)), sep=chr(10))
"""


def digest_of(seed: int) -> str:
    """Run a careless server once, and return the hash of the run, which has failed."""
    outcome = run(Plan(scenario=carelessness, faults=Faults.all()), seeded(seed), seed=seed)
    assert "is no line" in str(outcome.error)
    return outcome.journal.digest()


def output(hash_seed: int, program: str, *arguments: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        env={"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_seed_that_was_found_is_the_same_run_a_hundred_times_of_a_hundred() -> None:
    with pytest.raises(SimulationFailed, match="is no line") as found:
        simulate(carelessness, seeds=100, faults=Faults.all(), shrink=0)
    seed = found.value.seed
    again = [digest for hash_seed in (1, 2, 3, 4) for digest in output(hash_seed, REPLAY, seed)]
    assert again == [digest_of(seed)] * 100


@pytest.mark.parametrize(
    ("module", "seeds"), [(scenarios, 20), (green_scenarios, 10)], ids=["tasks", "green"]
)
def test_a_seed_is_the_same_run_in_every_process(module: Any, seeds: int) -> None:
    here = simulate(module.shouting, seeds=seeds, faults=Faults.all(), digests=True).digests
    lines = [f"{number} {digest}" for number, digest in here.items()]
    for hash_seed in (1, 2):
        assert output(hash_seed, PROGRAM, module.__name__, seeds) == lines


def test_every_seed_is_another_run() -> None:
    digests = simulate(scenarios.shouting, seeds=50, faults=Faults.all(), digests=True).digests
    assert len(set(digests.values())) == 50


def test_the_random_module_is_the_seeds_and_as_before_afterwards() -> None:
    seen: list[float] = []

    async def scenario(world: World) -> None:
        seen.append(random.random())

    random.seed(1)
    before = random.getstate()
    simulate(scenario, seeds=[3, 3, 4])
    assert seen[0] == seen[1] != seen[2]
    assert random.getstate() == before
