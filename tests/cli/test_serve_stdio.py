"""`python -m triosock serve stdio:`: one connection that exists already."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys

import pytest

from tests.programs import python
from tests.stdio.programs import check_inetd
from tests.waiting import PATIENCE

from .conftest import SHOUT

SERVE = ["serve", "stdio:", *SHOUT]
#: As `inetd()` starts it: a program in a string.
PROGRAM = f"from triosock.cli import main\nmain({SERVE!r})\n"


def test_in_a_shell_it_answers_and_logs_to_stderr():
    done = python("-X", "dev", "-m", "triosock", *SERVE, input="hello\n", check=True)
    assert done.stdout == "HELLO\n"
    assert "listens on memory://stdio" in done.stderr


def test_under_inetd_the_log_does_not_get_to_the_client():
    check_inetd(PROGRAM)


@pytest.mark.parametrize("form", ["text", "json"])
def test_under_inetd_the_log_goes_to_syslog(tmp_path, form):
    path = str(tmp_path / "log")
    command = [*SERVE, "--log-format", form]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(path)
        syslog.settimeout(PATIENCE)
        check_inetd(
            f"from triosock.cli import main, observing\nobserving.SYSLOG = {path!r}\nmain({command!r})\n"
        )
        _, _, line = syslog.recv(1000).decode().rstrip("\0").partition("triosock: ")
    assert "listens on tcp://" in (json.loads(line)["message"] if form == "json" else line)


@pytest.mark.parametrize(
    ("redirected", "says"),
    [
        ("<&-", "this program was started with it closed"),
        (">&-", "this program was started with it closed"),
        ("", "stdin is a socket, and no connection"),
    ],
)
def test_without_a_connection_one_line_says_so(redirected, says):
    command = f'exec "{sys.executable}" -m triosock {" ".join(SERVE)} {redirected}'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        done = subprocess.run(
            ["sh", "-c", command],
            stdin=datagrams,
            stdout=datagrams,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert re.fullmatch(rf"triosock: [^\n]*{says}[^\n]*\n", done.stderr)


def test_in_a_file_too(tmp_path, refused):
    config = tmp_path / "server.toml"
    config.write_text('[endpoints.one]\naddress = "stdio:"\nhandler = "triosock.cli.handlers:shout"\n')
    assert python("-m", "triosock", "serve", "--config", config, input="hello\n").stdout == "HELLO\n"
    config.write_text("workers = 2\n" + config.read_text())
    refused(["serve", "--config", str(config)])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--workers", "2"], "stdio: is one connection, for one process"),
        (["tcp://127.0.0.1:0"], "stdio: is one connection, for one process"),
        (["--access-log", "-"], "stdio: uses stdout for the connection"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(words, says, refused):
    assert says in refused([*SERVE[:2], *words, *SERVE[2:]])
