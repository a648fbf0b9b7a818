"""`python -m triosock top`: in a terminal, into a pipe, and without a program to show."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from tests.programs import PATIENCE, ended, own_environment, running, server_program
from tests.waiting import eventually
from triosock.cli import main, output, top
from triosock.cli.arguments import OperatingSystemError
from triosock.observe import Node

from .conftest import one_client

SERVER = textwrap.dedent(
    """
    import sys, triosock
    from triosock.cli.handlers import echo
    triosock.run(triosock.serve_unix, echo, sys.argv[1], control=sys.argv[2])
    """
)


@pytest.fixture
def program(tmp_path):
    control = tmp_path / "control"
    with server_program("-c", SERVER, tmp_path / "s", control) as program:
        assert eventually(control.exists)
        yield program, control


def test_into_a_pipe_it_prints_one_tree_after_the_other_until_the_program_ends(program):
    server, control = program
    with running("-m", "triosock", "top", control, "--interval", "0.05") as watcher:
        watcher.wait_for(r"(?s)2 servers, 1 active.*2 servers, 1 active")
        server.stop()
        assert watcher.wait() == 0
    assert "the program has ended" in watcher.output
    assert "\x1b" not in watcher.output


def test_ctrl_c_ends_it_quietly(program):
    with running("-m", "triosock", "top", program[1]) as watcher:
        watcher.wait_for("active")
        watcher.signal(signal.SIGINT)
        assert watcher.wait() == 0
    assert "KeyboardInterrupt" not in watcher.output


@pytest.mark.parametrize("command", ["top", "events"])
def test_it_ends_quietly_when_nobody_reads_on(program, command):
    _, control = program
    words = ["tell", control, "events"] if command == "events" else ["top", control, "--interval", "0.05"]
    watcher = subprocess.Popen(
        [sys.executable, "-m", "triosock", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=own_environment(),
    )
    with ended(watcher):
        assert select.select([watcher.stdout], [], [], PATIENCE)[0]
        assert watcher.stdout.readline()
        watcher.stdout.close()
        with socket.socket(socket.AF_UNIX) as client:  # for `events`: there is something to print
            client.connect(str(control.with_name("s")))
        assert watcher.wait(PATIENCE) == 0
        assert watcher.stderr.read() == b""


@pytest.mark.parametrize("words", [["top", "--once"], ["tell", "events"]])
def test_what_cannot_be_printed_is_an_error_in_one_line(program, words):
    _, control = program
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "triosock", words[0], str(control), *words[1:]],
            stdout=full,
            stderr=subprocess.PIPE,
            env=own_environment(),
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_what_the_encoding_does_not_have_is_an_error_in_one_line(monkeypatch):
    with open("/dev/null", "w", encoding="ascii") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        with pytest.raises(OperatingSystemError, match="standard output: 'ascii' codec can't encode"):
            output.say("…")


def test_with_nobody_there_it_says_so(tmp_path, capsys):
    assert main(["top", str(tmp_path / "none")]) == 1
    assert "cannot connect to" in capsys.readouterr().err


def test_with_somebody_who_does_not_answer_it_says_why(tmp_path, capsys):
    path = tmp_path / "s"
    with one_client(path, socket.socket.close):
        assert main(["top", str(path)]) == 1
    assert "serves only its own user" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["--interval", "0"], ["--interval", "inf"], ["--limit", "-1"], ["--limit", "x"]]
)
def test_mistakes_are_told(wrong, refused):
    assert wrong[0] in refused(["top", "socket", *wrong])


def test_without_rich_it_is_plain(monkeypatch):
    pytest.importorskip("rich")
    assert top._live() is not None
    monkeypatch.setitem(sys.modules, "rich.live", None)
    assert top._live() is None


def test_what_does_not_fit_on_the_screen_is_counted():
    pytest.importorskip("rich")
    node = Node(
        kind="run", children=tuple(Node(kind="listener", name=str(n), state="open") for n in range(30))
    )
    drawn = top._render(node, 10).plain.splitlines()
    assert len(drawn) == 9
    assert drawn[-1].startswith("… and 24 more lines")
    assert len(top._render(node, 50).plain.splitlines()) == 32


def test_names_from_outside_are_no_markup_and_no_escapes():
    pytest.importorskip("rich")
    node = Node(kind="connection", name="1", peer="[bold red]\x1b[2Jx[/]")
    assert "[bold red]\\x1b[2Jx[/]" in top._render(node, 10).plain
