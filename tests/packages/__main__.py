"""python -m tests.packages [--folder DIR] [NAME ...]: run the tests of these packages, or of all in the
table, with the standard library's socketserver and with triosock.compat, and print what came out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from .compare import Verdict, differs, judge
from .table import PACKAGES, Package
from .workplace import ROOT, Workplace

#: How often both kinds of run are made at the most, to tell a new failure from an unsteady test.
ATTEMPTS = 3
#: How many tests of a kind are named.
MOST_NAMES = 20
_ROW = "{:<22} {:<10} {:>7} {:>7} {:>7} {:>7} {:>5}  {}"


def main() -> None:
    """Go through the table, one package at a time."""
    parser = argparse.ArgumentParser(prog="python -m tests.packages")
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv-packages")
    parser.add_argument("names", nargs="*", metavar="NAME")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - {one.name for one in PACKAGES}:
        parser.error(f"not in the table: {', '.join(sorted(unknown))}")
    print(_ROW.format("package", "version", "tests", "servers", "stdlib", "compat", "new", "unsteady"))
    broken = 0
    for package in PACKAGES:
        if not chosen.names or package.name in chosen.names:
            broken += _one(package, Workplace(package, chosen.folder.resolve() / package.name))
    sys.exit(1 if broken else 0)


def _one(package: Package, workplace: Workplace) -> bool:
    """Test one package, print its row, and return whether something is wrong with it."""
    try:
        workplace.prepare()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
        print(f"{package.name:<22} {package.version:<10} not installed: {failure}", flush=True)
        return True
    verdict = _compare(workplace)
    print(
        _ROW.format(
            package.name,
            package.version,
            verdict.total,
            verdict.servers,
            verdict.stdlib,
            verdict.compat,
            len(verdict.new),
            len(verdict.unsteady),
        ),
        flush=True,
    )
    for kind, names in (("new", verdict.new), ("unsteady", verdict.unsteady)):
        for name in names[:MOST_NAMES]:
            print(f"    {kind}: {name}", flush=True)
    return bool(verdict.new) or not verdict.stdlib


def _compare(workplace: Workplace) -> Verdict:
    stdlib, compat = [], []
    servers = 0
    for attempt in range(ATTEMPTS):
        stdlib.append(workplace.run(compat=False, attempt=attempt)[0])
        outcomes, bound = workplace.run(compat=True, attempt=attempt)
        compat.append(outcomes)
        servers = servers or bound
        if not differs(stdlib[-1], outcomes):
            break
    return judge(stdlib, compat, servers)


if __name__ == "__main__":
    main()
