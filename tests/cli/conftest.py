"""What several tests of the command line start from."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.programs import Program
from triosock.cli import main


def wait_for_restart(program: Program, count: int) -> None:
    """Return when so many workers have been replaced, and the old ones accept no more."""
    program.wait_for(f"restart: {count} replaced")
    program.wait_for(rf"(?s)(INFO worker \d: [^\n]*: drained in.*){{{count}}}")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """`refused(words)`: what is said, on standard error, of words that are wrong; the exit code is 2."""

    def refuse(words: list[str]) -> str:
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        return capsys.readouterr().err

    return refuse
