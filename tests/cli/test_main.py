"""Common to all sub-commands: the program's options, exit codes, and mistakes reported on one line."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import triosock
from tests.programs import ROOT, running
from triosock.cli import COMMANDS, main

ECHO = "triosock.cli.handlers:echo"


def test_version_names_all_that_a_bug_report_needs():
    with running("-m", "triosock", "--version") as program:
        assert program.wait() == 0
    python = sys.version.split()[0]
    assert program.output.startswith(f"triosock {triosock.__version__} (trio ")
    assert f"Python {python}" in program.output


def test_without_a_command_it_says_what_there_is():
    with running("-m", "triosock") as program:
        assert program.wait() == 2
    assert "usage: triosock" in program.output
    assert "COMMAND" in program.output


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    for command in COMMANDS:
        assert command.__name__.rpartition(".")[2] in listed


def test_the_console_script_is_the_same_program():
    scripts = entry_points(group="console_scripts", name="triosock")
    if not scripts:
        pytest.skip("triosock is not installed, only found")
    assert [script.load() for script in scripts] == [main]


def test_importing_the_command_line_opens_nothing_and_prints_nothing():
    done = subprocess.run(
        [sys.executable, "-c", "import triosock.__main__"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["serve"], "the following arguments are required: ENDPOINT, --handler"),
        (["serve", "127.0.0.1:80", "--handler", ECHO], "ENDPOINT: '127.0.0.1:80' must begin with tcp://"),
        (
            ["serve", "udp://127.0.0.1:80", "--handler", ECHO, "--proxy"],
            "TLS and the PROXY protocol are for streams, not for udp://",
        ),
        (["serve", "tcp://127.0.0.1:99999", "--handler", ECHO], "ENDPOINT: 'tcp://127.0.0.1:99999'"),
        (["serve", "unix:///" + "x" * 200, "--handler", ECHO], "ENDPOINT: path has 201 bytes"),
        (["serve", "tcp://[::1]:0", "--handler", "echo"], "--handler is written module:function"),
        (
            ["serve", "tcp://[::1]:0", "--handler", "no_such_module:echo"],
            "there is no module 'no_such_module'",
        ),
        (
            ["serve", "tcp://[::1]:0", "--handler", "triosock.nothing:x"],
            "there is no module 'triosock.nothing'",
        ),
        (
            ["serve", "tcp://[::1]:0", "--handler", "json:no.such"],
            "the module 'json' has nothing named 'no.such'",
        ),
        (["serve", "tcp://[::1]:0", "--handler", "json:dumps"], "--handler must be an async function of one"),
        (["serve", "tcp://[::1]:0", "--handler", ECHO, "--grace", "-1"], "--grace: grace must be"),
        (
            ["serve", "tcp://[::1]:0", "--handler", ECHO, "--idle-timeout", "0"],
            "--idle-timeout: idle must be",
        ),
        (
            ["serve", "tcp://[::1]:0", "--handler", ECHO, "--send-timeout", "nan"],
            "--send-timeout: send must be",
        ),
        (
            ["serve", "tcp://[::1]:0", "--handler", ECHO, "--max-connections", "0"],
            "max_connections must be from 1",
        ),
        (
            ["serve", "tcp://[::1]:0", "--handler", ECHO, "--max-connections", "x"],
            "invalid literal for int()",
        ),
        (
            ["serve", "tcp://[::1]:0", "--handler", ECHO, "--mode", "600"],
            "--mode is for the file of a unix://",
        ),
        (
            ["serve", "unix:///x", "--handler", ECHO, "--mode", "888"],
            "--mode: permissions are written in octal",
        ),
        (["serve", "unix:///x", "--handler", ECHO, "--mode", "7777"], "--mode: mode must be from 0 to 0o777"),
        (["serve", "tcp://[::1]:0", "--handler", ECHO, "--tls-key", "key.pem"], "--tls-key needs --tls-cert"),
        (["serve", "fd://", "--handler", ECHO], "ENDPOINT: 'fd://' names no socket"),
        (["serve", "tcp://[::1]:0", "--handler", ECHO, "--workers", "0"], "--workers: write a number from 1"),
        (
            ["serve", "tcp://[::1]:0", "--config", "x.toml"],
            "--config cannot be combined with other options: leave out endpoints",
        ),
    ],
)
def test_a_mistake_is_exit_code_2_and_one_line_that_names_it(words, complaint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    last_line = printed.err.splitlines()[-1]
    assert last_line.startswith("triosock serve: error: ")
    assert complaint in last_line


def test_what_a_module_raises_while_it_is_imported_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_handlers.py").write_text("import no_such_library_at_all\n")
    (tmp_path / "wrong_handlers.py").write_text("raise ValueError('by its author')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library_at_all"):
        main(["serve", "tcp://127.0.0.1:0", "--handler", "broken_handlers:echo"])
    with pytest.raises(ValueError, match="by its author"):
        main(["serve", "tcp://127.0.0.1:0", "--handler", "wrong_handlers:echo"])
