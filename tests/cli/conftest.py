"""What several tests of the command line start from."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from triosock.cli import main


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """`refused(words)`: what is said, on standard error, of words that are wrong; the exit code is 2."""

    def refuse(words: list[str]) -> str:
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        return capsys.readouterr().err

    return refuse
