"""`python -m benchmarks`: measure, check, and show. `--help` says how."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from . import peers, picture, table, thresholds, works
from .peers import Peer
from .process import ROOT, raise_on_signals
from .rounds import QUICK, Effort, Result, measure, to_stderr
from .works import Work

OUT = ROOT / "build" / "bench"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m benchmarks", description="triosock and its peers, side by side"
    )
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure, and write result.json, table.md and picture.svg")
    check = commands.add_parser(
        "check", help="measure what thresholds.toml names; exit with 1 below one of them"
    )
    for command in (run, check):
        command.add_argument(
            "--work", action="append", choices=list(works.BY_NAME), help="only this work (again for more)"
        )
        command.add_argument(
            "--peer", action="append", choices=list(peers.BY_NAME), help="only this server (again for more)"
        )
        command.add_argument(
            "--quick",
            action="store_true",
            help="three short rounds of what thresholds.toml names: 2.5 minutes",
        )
        command.add_argument("--rounds", type=int)
        command.add_argument("--seconds", type=float, help="measuring time of one sample")
        command.add_argument("--warmup", type=float, help="seconds before that")
        command.add_argument("--budget", type=float, help="seconds after which nothing begins any more")
        command.add_argument("--out", type=Path, default=OUT, help="folder for the results")
        command.add_argument("--thresholds", type=Path, default=thresholds.THRESHOLDS)
    check.add_argument("--result", type=Path, help="judge this result.json instead of measuring")
    show = commands.add_parser("show", help="write the table and the picture of a result.json again")
    show.add_argument("result", type=Path)
    show.add_argument("--out", type=Path, default=OUT)
    show.add_argument("--thresholds", type=Path, default=thresholds.THRESHOLDS)
    commands.add_parser("list", help="all works, and who takes part")
    return top


def effort_of(options: argparse.Namespace) -> Effort:
    given = {name: getattr(options, name) for name in ("rounds", "seconds", "warmup", "budget")}
    return dataclasses.replace(
        QUICK if options.quick else Effort(),
        **{name: value for name, value in given.items() if value is not None},
    )


def plan_of(options: argparse.Namespace) -> list[tuple[Work, Sequence[Peer]]]:
    """All works and servers, or those of the thresholds, narrowed by what was asked for."""
    if options.command == "check" or options.quick:
        plan = thresholds.load(options.thresholds).plan()
    else:
        plan = [(work, work.peers) for work in works.WORKS]
    return [
        (work, chosen)
        for work, servers in plan
        if options.work is None or work.name in options.work
        if (chosen := [peer for peer in servers if options.peer is None or peer.name in options.peer])
    ]


def write(result: Result, out: Path, limits: Path) -> None:
    verdicts = thresholds.judge(result, thresholds.load(limits))
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(result.to_json())
    (out / "table.md").write_text(table.markdown(result, verdicts))
    (out / "picture.svg").write_text(picture.svg(result, verdicts))
    to_stderr(f"written: result.json, table.md, picture.svg in {out}")


def check(result: Result, limits: Path) -> int:
    """Print what fell short, and what missed only its aim; 1 if anything fell short."""
    verdicts = thresholds.judge(result, thresholds.load(limits))
    failed = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in failed:
        print(f"FAILED  {verdict}")
    for verdict in verdicts:
        if verdict.missed_aim:
            print(f"aim missed  {verdict}")
    print(f"{len(verdicts) - len(failed)} of {len(verdicts)} thresholds held")
    return 1 if failed else 0


def show_list() -> None:
    for work in works.WORKS:
        names = ", ".join(peer.name if peer.installed else f"({peer.name})" for peer in work.peers)
        print(f"{work.name:15} {work.title}\n{'':15} {names}")
    print("In brackets: not installed here.")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.command == "list":
        show_list()
        return 0
    if options.command == "show":
        write(Result.from_json(options.result.read_text()), options.out, options.thresholds)
        return 0
    if options.command == "check" and options.result is not None:
        return check(Result.from_json(options.result.read_text()), options.thresholds)
    raise_on_signals()
    judged = options.command == "check"
    unclear = thresholds.load(options.thresholds).unclear if judged else None
    result = measure(plan_of(options), effort_of(options), to_stderr, unclear)
    write(result, options.out, options.thresholds)
    return check(result, options.thresholds) if judged else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        to_stderr("interrupted; every server and load has been ended")
        sys.exit(130)
