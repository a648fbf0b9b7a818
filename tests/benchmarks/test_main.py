"""The command line of the benchmark."""

import json
import subprocess
import sys
from pathlib import Path
from time import monotonic

from benchmarks.__main__ import effort_of, main, parser, plan_of
from benchmarks.process import ROOT
from benchmarks.rounds import QUICK, Effort, Result, machine
from tests.programs import python

IMPOSSIBLE = """
rounds = 1
[[ratio]]
work = "connect-1"
of = "stdlib-sync"
against = "epoll"
measures = ["rate"]
at_least = 1000000
"""


def test_check_measures_and_exits_with_1_naming_what_fell_short(tmp_path):
    limits = tmp_path / "thresholds.toml"
    limits.write_text(IMPOSSIBLE)
    options = ["--rounds", "1", "--seconds", "0.1", "--thresholds", limits, "--out", tmp_path]
    done = python("-m", "benchmarks", "check", *options, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    assert "FAILED  connect-1, rate: stdlib-sync against epoll: " in done.stdout
    assert "at least 1000000.00" in done.stdout
    measured = json.loads((tmp_path / "result.json").read_text())["samples"]["connect-1"]
    assert set(measured) == {"stdlib-sync", "epoll"}
    assert (tmp_path / "picture.svg").read_text().startswith("<svg")
    assert "### connect, exchange, close" in (tmp_path / "table.md").read_text()


def test_show_writes_the_files_again(tmp_path):
    first = tmp_path / "result.json"
    first.write_text(Result(Effort(), machine()).to_json())
    assert main(["show", str(first), "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json", "table.md", "picture.svg"}


def test_sigterm_ends_the_run_and_whatever_it_has_started(tmp_path, ends):
    words = "run --work echo-64 --peer stdlib-threading --peer epoll"
    endless = "--rounds 10000 --seconds 0.05 --budget 60 --out"
    command = [sys.executable, "-m", "benchmarks", *words.split(), *endless.split(), tmp_path]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as runner:
        runner.stderr.readline()  # the samples of one round are there, and the next round is under way
        children = []
        until = monotonic() + 20
        while len(children) < 4:  # two servers, and a load for each; nothing tells when they are there
            assert monotonic() < until
            children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
        with ends(*map(int, children)) as all_ended:
            runner.terminate()
            assert b"interrupted" in runner.communicate(timeout=20)[1]
            assert all_ended()
    assert runner.returncode == 130


def test_list_names_every_work(capsys):
    assert main(["list"]) == 0
    assert "connect-32" in capsys.readouterr().out


def test_a_part_of_it_can_be_asked_for():
    options = parser().parse_args(
        ["run", "--work", "lines", "--work", "udp", "--peer", "trio", "--rounds", "9"]
    )
    assert [(work.name, [peer.name for peer in servers]) for work, servers in plan_of(options)] == [
        ("lines", ["trio"]),
        ("udp", ["trio"]),
    ]
    assert effort_of(options).rounds == 9


def test_the_quick_mode_fits_into_two_minutes():
    options = parser().parse_args(["run", "--quick"])
    effort = effort_of(options)
    assert effort == QUICK
    assert effort.budget <= 150
    samples = sum(len(servers) for _, servers in plan_of(options)) * effort.rounds
    assert samples * (effort.seconds + effort.warmup) <= 60  # as much again for starting each server
