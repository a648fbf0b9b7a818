"""The same seed is the same run: in this process, and in others with other hashes."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from tests.simulation.scenarios import shouting
from triosock.testing.simulation import Faults, World, simulate

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from tests.simulation.scenarios import shouting
from triosock.testing.simulation import Faults, simulate
for number, digest in simulate(shouting, seeds=20, faults=Faults.all(), digests=True).digests.items():
    print(number, digest)
"""


def elsewhere(hash_seed: int) -> dict[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return {int(number): digest for number, digest in map(str.split, done.stdout.splitlines())}


def test_a_seed_is_the_same_run_in_every_process() -> None:
    here = simulate(shouting, seeds=20, faults=Faults.all(), digests=True).digests
    assert here == elsewhere(1) == elsewhere(2)


def test_every_seed_is_another_run() -> None:
    digests = simulate(shouting, seeds=50, faults=Faults.all(), digests=True).digests
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
