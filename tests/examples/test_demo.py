"""The output of the demo: the outcome of each client in the drain, and that nothing is left."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.programs import running


def test_the_demo_ends_every_client_as_expected_and_leaves_nothing():
    with running("-m", "examples.demo") as program:
        assert program.wait() == 0
    told = program.output
    for kind, end in {
        "waiting for a job": "6 answered",
        "uploading": "4 answered",
        "queued": "3 answered",
        "idle": "8 ended",
        "idle (unix)": "2 ended",
        "idle (compat)": "2 ended",
        "stuck": "1 cut",
    }.items():
        assert f" {kind}: {end}\n" in told
    assert "13 got their answer in the drain, 0 a reset\n" in told
    assert "a new connection is refused" in told
    assert re.search(
        r"report +tcp: drained in \S+ s: 21 finished, 0 failed, 0 left, 1 cancelled, 0 refused\n", told
    )
    assert re.search(
        r"report +unix: drained in \S+ s: 2 finished, 0 failed, 0 left, 0 cancelled, 0 refused\n", told
    )
    last, words = told.splitlines()[-2:]
    assert last.endswith("nothing is left: no task, no socket, no file (counted)")
    assert words.endswith("next: look at the picture, then talk to .venv/bin/python examples/01_echo.py")
    assert re.search(
        r"report +compat: drained in \S+ s: 2 finished, 0 failed, 0 left, 0 cancelled, 0 refused\n", told
    )
    assert "a thread answers HELLO\n" in told
    assert "a task answers pong to ping\n" in told
    picture = re.search(r"the picture of this run is (\S+)\n", told)
    assert picture is not None
    assert "<svg" in Path(picture[1]).read_text(encoding="utf-8")
    if shutil.which("nc"):
        assert told.count("says hello, hears") == 2
        assert "hears HELLO\n" in told


def test_the_output_is_in_order():
    with running("-m", "examples.demo") as program:
        assert program.wait() == 0
    story = [
        r"tcp +server listens on tcp://127\.0\.0\.1:\d+$",
        r"demo +drains all servers",
        r"tcp +server drains: 19 connected, 8 of them idle$",
        r"clients +a new connection is refused",
        r"tcp +server cuts connection 1\d, ",
        r"tcp +server closed$",
        r"report +tcp: drained",
        r"demo +nothing is left",
    ]
    assert re.search("(?ms)" + ".*?".join(f"^ *[0-9.]+ s  {line}" for line in story), program.output)
