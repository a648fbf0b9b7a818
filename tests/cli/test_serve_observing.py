"""Observability of `triosock serve`: JSON logs, access logs, the blocked-loop watch, OpenTelemetry."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.programs import PATIENCE, dial, running

from .conftest import SERVE, SHOUT, serve

ADDRESS = "tcp://127.0.0.1:0"


def test_an_access_log_and_a_log_of_json(tmp_path):
    path = tmp_path / "access.log"
    options = ("--access-log-format", "$protocol $cause $bytes_received", "--log-format", "json")
    with serve(ADDRESS, *SHOUT, "--access-log", path, *options) as program:
        program.wait_for('"event.action": "server-started"')
        port = int(program.wait_for(r"listens on tcp://127\.0\.0\.1:(\d+)")[1])
        with dial(port) as client:
            assert client.ask(b"hello\n") == b"HELLO\n"
    assert path.read_text() == "TCP finished 6\n"
    lines = [json.loads(line) for line in program.output.splitlines() if line.startswith("{")]
    assert {line["log.logger"] for line in lines} == {"triosock"}


def test_an_access_log_on_stdout_by_a_file(tmp_path):
    (tmp_path / "server.toml").write_text(
        """
        [observe]
        access_log = "-"
        access_log_format = "json"
        access_log_of = "requests"
        [endpoints.web]
        address = "tcp://127.0.0.1:0"
        handler = "triosock.cli.handlers:shout"
        """
    )
    with serve("--config", tmp_path / "server.toml") as program, dial(program.port()) as client:
        client.say(b"hello\nagain\n")
        assert [client.line(), client.line()] == [b"HELLO\n", b"AGAIN\n"]
    lines = [json.loads(line) for line in program.output.splitlines() if line.startswith("{")]
    assert [line["event.action"] for line in lines] == ["request-finished"] * 2


def test_workers_write_one_access_log(tmp_path):
    path = tmp_path / "access.log"
    options = ("--workers", 2, "--access-log", path, "--access-log-format", "$pid")
    with serve(ADDRESS, *SHOUT, *options) as program:
        port = int(program.wait_for(r"tcp://127\.0\.0\.1:(\d+)")[1])
        for _ in range(10):
            with dial(port) as client:
                assert client.ask(b"hello\n") == b"HELLO\n"
    assert len(path.read_text().splitlines()) == 10


def test_who_blocks_is_told(tmp_path):
    os.mkfifo(tmp_path / "gate")
    (tmp_path / "mine.py").write_text(
        "async def block(conn):\n"
        "    async for line in conn.lines():\n"
        "        with open('gate') as gate:\n"  # returns when somebody opens it for writing
        "            await conn.send_all(line)\n"
    )
    with serve(ADDRESS, "--handler", "mine:block", "--blocked-after", 0.1, cwd=tmp_path) as program:
        with dial(program.port()) as client:
            client.say(b"x\n")
            program.wait_for(r"the event loop is blocked: [^\n]+ has run for 0\.1 s without a checkpoint")
            program.wait_for(r"mine\.py\", line 3, in block")
            (tmp_path / "gate").open("w").close()
            assert client.line() == b"x\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--access-log-format", "$nonsense"), "there is no $nonsense"),
        (("--blocked-after", "0"), "blocked_after must be a number of seconds above 0"),
        (("--blocked-after", "nan"), "blocked_after must be a number of seconds above 0"),
        (("--log-format", "xml"), "invalid choice"),
    ],
)
def test_mistakes_are_told(options, says, refused):
    assert says in refused(["serve", ADDRESS, *SHOUT, *options])


def test_a_mistake_in_a_file_has_its_line(tmp_path, refused):
    path = tmp_path / "server.toml"
    path.write_text(
        '[endpoints.web]\naddress = "tcp://127.0.0.1:0"\nhandler = "triosock.cli.handlers:echo"\n'
        '[observe]\naccess_log_format = "$nonsense"\n'
    )
    assert f"{path}:5: access_log_format: format: there is no $nonsense" in refused(
        ["serve", "--config", str(path)]
    )


def test_a_file_that_cannot_be_opened_refuses_the_start(tmp_path):
    with running(*SERVE, ADDRESS, *SHOUT, "--access-log", tmp_path / "no" / "access.log") as program:
        assert program.wait() == 1
    assert "No such file or directory" in program.output


def test_an_access_log_on_a_stdout_that_is_closed_refuses_the_start():
    command = f'exec "{sys.executable}" {" ".join(map(str, (*SERVE, ADDRESS, *SHOUT)))} --access-log - >&-'
    done = subprocess.run(
        ["sh", "-c", command], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert done.stderr == "triosock: access_log: standard output was closed when this program was started\n"


def test_opentelemetry_by_the_sdk_that_is_set_up(tmp_path):
    pytest.importorskip("opentelemetry.sdk")
    (tmp_path / "mine.py").write_text(
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor\n"
        "from triosock.cli.handlers import shout\n"
        "provider = TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))\n"
        "trace.set_tracer_provider(provider)\n"
    )
    with serve(ADDRESS, "--handler", "mine:shout", "--opentelemetry", cwd=tmp_path) as program:
        with dial(program.port()) as client:
            assert client.ask(b"hello\n") == b"HELLO\n"
        program.wait_for('"name": "connection"')
    assert '"client.address": "127.0.0.1"' in program.output


def test_without_the_extra_it_says_what_to_install(tmp_path):
    (tmp_path / "opentelemetry.py").write_text("raise ModuleNotFoundError(name=__name__)\n")
    with running(*SERVE, ADDRESS, *SHOUT, "--opentelemetry", cwd=tmp_path) as program:
        assert program.wait() == 2
    assert "needs opentelemetry-api: python -m pip install 'opentelemetry-api>=1.30'" in program.output
