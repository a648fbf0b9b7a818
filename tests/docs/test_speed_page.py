"""The page about speed: its command line, against the server that it names."""

from __future__ import annotations

import re
import socket

import pytest

from benchmarks.ask import FIGURES, main
from tests.programs import ROOT, printed, running

SERVE = ("-m", "triosock", "serve", "tcp://127.0.0.1:0", "--handler", "triosock.cli.handlers:shout")


@pytest.mark.parametrize("work", ["lines", "connect"])
def test_the_load_of_the_page_measures_a_server_that_runs(
    capsys: pytest.CaptureFixture[str], work: str
) -> None:
    script = (ROOT / "docs" / "code" / "speed.sh").read_text()
    found = re.search(r"benchmarks\.ask 9999 \$! --work lines (.*)$", script, re.MULTILINE)
    assert found is not None
    words = [*found[1].replace("--seconds 5", "--seconds 1").split(), "--work", work]
    with running(*SERVE) as program:
        told = printed("-m", "benchmarks.ask", program.port(), program.process.pid, *words, cwd=ROOT)
    lines = told.splitlines()
    assert len(lines) == len(FIGURES)
    assert re.fullmatch(r"[\d,]+ operations a second", lines[0])
    assert int(lines[0].split()[0].replace(",", "")) > 0


def test_a_port_without_a_server_is_told() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # and does not listen
        port = sock.getsockname()[1]
        with pytest.raises(SystemExit, match=rf"^port {port}, process 1: .*Connection refused"):
            main([str(port), "1"])


def test_a_number_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["9999", "1", "--connections", "0"])
    assert "argument --connections: invalid positive value: '0'" in capsys.readouterr().err
