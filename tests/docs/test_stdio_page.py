"""The page about standard input and output: its program, its units."""

from __future__ import annotations

from pathlib import Path

from tests.docs.units import CODE, complaints
from tests.programs import printed
from tests.stdio.programs import check_inetd

PROGRAM = f"import runpy\nrunpy.run_path({str(CODE / 'stdio.py')!r}, run_name='__main__')\n"


def test_the_program_answers_in_a_shell() -> None:
    assert printed("-X", "dev", CODE / "stdio.py", input="hello\n") == "HELLO\n"


def test_the_program_answers_under_inetd_and_logs_elsewhere() -> None:
    check_inetd(PROGRAM)


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    assert complaints(tmp_path, "each.socket", "each@.service") == []
