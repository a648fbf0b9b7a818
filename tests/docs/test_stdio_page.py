"""The page about standard input and output: its program, its units."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.docs.units import CODE, complaints
from tests.programs import PATIENCE
from tests.stdio.programs import check_inetd

PROGRAM = f"import runpy\nrunpy.run_path({str(CODE / 'stdio.py')!r}, run_name='__main__')\n"


def test_the_program_answers_in_a_shell() -> None:
    command = [sys.executable, "-X", "dev", CODE / "stdio.py"]
    done = subprocess.run(command, input=b"hello\n", capture_output=True, timeout=PATIENCE, check=True)
    assert (done.stdout, done.stderr) == (b"HELLO\n", b"")


def test_the_program_answers_under_inetd_and_logs_elsewhere() -> None:
    check_inetd(PROGRAM)


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    assert complaints(tmp_path, "each.socket", "each@.service") == []
