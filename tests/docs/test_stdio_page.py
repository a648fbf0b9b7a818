"""The page about standard input and output: its program, its units."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import PATIENCE, ROOT
from tests.stdio.programs import ask, inetd

CODE = ROOT / "docs" / "code"
PROGRAM = f"import runpy\nrunpy.run_path({str(CODE / 'stdio.py')!r}, run_name='__main__')\n"


def test_the_program_answers_in_a_shell() -> None:
    command = [sys.executable, "-X", "dev", CODE / "stdio.py"]
    done = subprocess.run(command, input=b"hello\n", capture_output=True, timeout=PATIENCE, check=True)
    assert (done.stdout, done.stderr) == (b"HELLO\n", b"")


def test_the_program_answers_under_inetd_and_logs_elsewhere() -> None:
    with inetd(PROGRAM) as (client, process):
        assert ask(client, b"hello\n") == b"HELLO\n"
        process.terminate()
        assert client.recv(100) == b""
    assert process.returncode == 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for name in ("each.socket", "each@.service"):
        unit = (CODE / "deploy" / name).read_text()
        (tmp_path / name).write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", unit, flags=re.M))
    (tmp_path / "each@one.service").write_text((tmp_path / "each@.service").read_text())
    command = [
        "systemd-analyze",
        "verify",
        "--man=no",
        tmp_path / "each.socket",
        tmp_path / "each@one.service",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert not [line for line in done.stderr.splitlines() if "each" in line], done.stderr
