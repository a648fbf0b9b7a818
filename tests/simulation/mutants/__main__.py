"""python -m tests.simulation.mutants: put each fault into a copy of the library, and simulate all scenarios
until one fails: one seed of each in turn, 1,000 seeds and 60 seconds at most for each fault.

What is found is run again from its seed, `REPLAYS` times in all over all faults, and must fail each time in
the same way. The table goes to standard output.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .faults import MUTANTS, Mutant

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


def hunt(mutant: Mutant, replays: int) -> tuple[bool, str, int, int]:
    """Return whether it was found, what was printed about it, and how many of the replays were the same."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "triosock", copy / "triosock")
        shutil.copytree(ROOT / "tests", copy / "tests")
        apply(mutant, copy / "triosock")
        try:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "tests.simulation.mutants.hunt",
                    str(SEEDS),
                    str(SECONDS),
                    str(replays),
                ],
                cwd=copy,
                env={**os.environ, "PYTHONPATH": str(copy)},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return False, f"a run was not over after {TIMEOUT:g} s", 0, 0
    words = done.stdout.strip().splitlines()
    if not words:
        return False, f"it could not be run: {done.stderr.strip()[-300:]}", 0, 0
    verdict, same, tried, told = words[-1].split("\t")
    return verdict == "found", told, int(same), int(tried)


def main() -> None:
    found = same = tried = 0
    each = -(-REPLAYS // len(MUTANTS))
    print("| fault | found by | seed | runs | seconds |\n| --- | --- | --- | --- | --- |", flush=True)
    for mutant in MUTANTS:
        is_found, told, again, replays = hunt(mutant, each)
        found, same, tried = found + is_found, same + again, tried + replays
        print(f"| {mutant.name} | {told} |", flush=True)
    print(f"\n{found} of {len(MUTANTS)} found; {same} of {tried} replays the same")


if __name__ == "__main__":
    main()
