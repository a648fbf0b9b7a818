"""python -m tests.simulation.mutants: put each fault into a copy of the library, and simulate all scenarios
until one fails: one seed of each in turn, 1,000 seeds and 60 seconds at most for each fault.

What is found is run again from its scenario and seed, `REPLAYS` times in all over all faults, each time in
another process with other hashes of strings: it must be the same run each time. The tables go to
standard output; with "first" or "later", that of `MUTANTS` or of `LATER` alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .faults import LATER, MUTANTS, Mutant

ROOT = Path(__file__).parents[3]
SEEDS = 1_000
SECONDS = 60.0
REPLAYS = 100
TIMEOUT = SECONDS * 2


def apply(mutant: Mutant, package: Path) -> None:
    """Put the fault into the copy. Raises: ValueError if its text is not there once."""
    found = [path for path in package.rglob("*.py") if mutant.old in path.read_text()]
    if len(found) != 1 or found[0].read_text().count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: its text is in {len(found)} files, not once in one")
    found[0].write_text(found[0].read_text().replace(mutant.old, mutant.new))


def hunt(mutant: Mutant, replays: int) -> tuple[list[str], int]:
    """Return the fields of what was found, none if nothing was; and how many of the replays were the same."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("triosock", "tests"):
            # Another process may write there, under names that it then changes.
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        apply(mutant, copy / "triosock")
        found = _in_copy(copy, 0, SEEDS, SECONDS)
        same = sum(_in_copy(copy, 1 + n, *found[:2])[:4] == found[:4] for n in range(replays) if found)
        return found, same


def _in_copy(copy: Path, hash_seed: int, *arguments: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.mutants.hunt", *map(str, arguments)],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONHASHSEED": str(hash_seed)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return done.stdout.strip().split("\t") if done.stdout.strip() else []


def measure(mutants: list[Mutant], replays: int) -> None:
    """Print the table of these faults."""
    number = same = 0
    each = replays // len(mutants)
    print("| fault | found by | seed | runs | seconds |\n| --- | --- | --- | --- | --- |", flush=True)
    for mutant in mutants:
        found, again = hunt(mutant, each)
        number, same = number + bool(found), same + again
        cells = [found[0], found[1], *found[4:]] if found else ["nothing", "", "", f"{SECONDS:g}"]
        print(f"| {mutant.name} | {' | '.join(cells)} |", flush=True)
    print(f"\n{number} of {len(mutants)} found; {same} of {each * number} replays the same\n", flush=True)


if __name__ == "__main__":
    for some in {"first": [MUTANTS], "later": [LATER]}.get("".join(sys.argv[1:]), [MUTANTS, LATER]):
        measure(some, REPLAYS)
