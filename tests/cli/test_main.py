"""Common to all sub-commands: the program's options, exit codes, and mistakes reported on one line."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import pytest

import triosock
from tests.programs import running
from triosock.cli import COMMANDS, main

ECHO = "--handler triosock.cli.handlers:echo"


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
    with running("-c", "import triosock.__main__") as program:
        assert program.wait() == 0
    assert program.output == ""


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "the following arguments are required: ENDPOINT, --handler"),
        (f"127.0.0.1:80 {ECHO}", "ENDPOINT: '127.0.0.1:80' must begin with tcp://"),
        (f"udp://127.0.0.1:80 {ECHO} --proxy", "TLS and the PROXY protocol are for streams, not for udp://"),
        (f"tcp://127.0.0.1:99999 {ECHO}", "ENDPOINT: 'tcp://127.0.0.1:99999'"),
        (f"unix:///{'x' * 200} {ECHO}", "ENDPOINT: path has 201 bytes"),
        ("tcp://[::1]:0 --handler echo", "--handler is written module:function"),
        ("tcp://[::1]:0 --handler no_such_module:echo", "there is no module 'no_such_module'"),
        ("tcp://[::1]:0 --handler triosock.nothing:x", "there is no module 'triosock.nothing'"),
        ("tcp://[::1]:0 --handler json:no.such", "the module 'json' has nothing named 'no.such'"),
        ("tcp://[::1]:0 --handler json:dumps", "--handler must be an async function of one"),
        (f"tcp://[::1]:0 {ECHO} --grace -1", "--grace: grace must be"),
        (f"tcp://[::1]:0 {ECHO} --idle-timeout 0", "--idle-timeout: idle must be"),
        (f"tcp://[::1]:0 {ECHO} --send-timeout nan", "--send-timeout: send must be"),
        (f"tcp://[::1]:0 {ECHO} --max-connections 0", "max_connections must be from 1"),
        (f"tcp://[::1]:0 {ECHO} --max-connections x", "invalid literal for int()"),
        (f"tcp://[::1]:0 {ECHO} --mode 600", "--mode is for the file of a unix://"),
        (f"unix:///x {ECHO} --mode 888", "--mode: permissions are written in octal"),
        (f"unix:///x {ECHO} --mode 7777", "--mode: mode must be from 0 to 0o777"),
        (f"tcp://[::1]:0 {ECHO} --tls-key key.pem", "--tls-key needs --tls-cert"),
        (f"fd:// {ECHO}", "ENDPOINT: 'fd://' names no socket"),
        (f"tcp://[::1]:0 {ECHO} --control /{'x' * 200}", "--control: path has 201 bytes"),
        (f"tcp://[::1]:0 {ECHO} --control=", "--control: path must not be empty"),
        (f"tcp://[::1]:0 {ECHO} --workers 0", "--workers: write a number from 1"),
        (
            "tcp://[::1]:0 --config x.toml",
            "--config cannot be combined with other options: leave out endpoints",
        ),
    ],
)
def test_a_mistake_is_exit_code_2_and_one_line_that_names_it(words, complaint, refused):
    last_line = refused(["serve", *words.split()]).splitlines()[-1]
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
