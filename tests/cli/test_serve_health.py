"""`python -m triosock serve --health`: the answers to probes, from the start to the end of a drain."""

from __future__ import annotations

import socket
import sys

import pytest

from tests.health.client import get
from tests.programs import dial, running

from .conftest import SERVE, SHOUT, serve

WORDS = ("tcp://127.0.0.1:0", *SHOUT)


def test_ready_from_the_start_and_not_from_the_first_signal_on():
    with serve(*WORDS, "--health", "tcp://127.0.0.1:0", "--delay", "4", "--grace", "20") as program:
        health = program.port("triosock health")
        port = int(program.wait_for(r"tcp://127\.0\.0\.1:(\d+): listens")[1])
        assert get(health) == (200, "ready")
        program.signal()
        program.wait_for("will drain in 4 s")
        assert get(health) == (503, f"tcp://127.0.0.1:{port}: draining")
        assert get(health, "/live") == (200, "live")
        with dial(port) as client:  # the delay is there for those who have not heard of it yet
            assert client.ask(b"hello\n") == b"HELLO\n"
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", health)) != 0


def test_in_a_file_with_workers(tmp_path):
    config = tmp_path / "server.toml"
    config.write_text(
        'workers = 2\nhealth = "tcp://127.0.0.1:0"\ndelay = 1\ngrace = 60\n'
        '[endpoints.web]\naddress = "tcp://127.0.0.1:0"\nhandler = "triosock.cli.handlers:shout"\n'
    )
    with serve("--config", config) as program:
        health = program.port("triosock health")
        port = int(program.wait_for(r"workers: 2 workers on tcp://127\.0\.0\.1:(\d+)")[1])
        assert get(health) == (200, "ready")
        with dial(port) as client:
            # The drain waits for the rest of a line.
            assert client.ask(b"first\nhalf") == b"FIRST\n"
            program.signal()
            while (answer := get(health)) == (200, "ready"):
                pass  # the signal is on its way
            assert answer == (503, "draining")
            assert client.ask(b"\n") == b"HALF\n"
    assert program.output.count("triosock health: listens") == 1, "workers have no port of their own"


@pytest.mark.parametrize("more", [[], ["--workers", "1"]])
def test_a_port_in_use_ends_it_with_the_reason(more):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        health = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with running(*SERVE, *WORDS, "--health", health, *more) as program:
            assert program.wait() == 1
            assert health in program.output
            assert "another program listens there" in program.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--health", "udp://127.0.0.1:1"], "a health endpoint is tcp://HOST:PORT or unix:///PATH"),
        (["--health", "8081"], "must begin with tcp://"),
        (["--delay", "-1"], "delay must be a number of seconds from 0 on"),
        (["--delay", "nan"], "delay must be a number of seconds from 0 on"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(words, says, refused):
    assert says in refused(["serve", *WORDS, *words])


def test_without_h11_it_says_what_to_install(monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "h11", None)
    missing = "health needs h11: python -m pip install 'h11>=0.14' (or triosock with the extra 'health')"
    assert missing in refused(["serve", *WORDS, "--health", "tcp://127.0.0.1:0"])
