"""`python -m triosock serve`: real processes, real clients."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys

import pytest
import trustme

from tests.certificates import write
from tests.programs import PATIENCE, check_drain, dial, own_environment, running
from tests.tls import trusting

from .conftest import ECHO, SERVE, SHOUT, serve


def test_it_serves_tcp_until_a_signal_drains_it():
    with serve("tcp://127.0.0.1:0", *SHOUT) as program:
        check_drain(program, program.port(), signal.SIGINT)
    assert "1 finished, 0 failed, 0 left, 0 cancelled, 0 refused" in program.output


def test_it_serves_a_unix_socket_with_its_mode_and_removes_the_file(tmp_path):
    path = tmp_path / "echo.sock"
    with serve(f"unix://{path}", *ECHO, "--mode", "600") as program:
        program.wait_for("listens on unix://")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with dial(path) as client:
            client.say(b"no newline")
            assert client.exactly(10) == b"no newline"
            program.signal()
            assert client.rest() == b""
    assert not path.exists()


@pytest.mark.parametrize("one_file", [True, False])
def test_it_serves_tls(tmp_path, one_file):
    authority = trustme.CA()
    files, context = write(tmp_path, authority, "localhost"), trusting(authority)
    options = ["--tls-cert", files.chain, "--tls-key", files.key]
    if one_file:
        files.chain.write_bytes(files.chain.read_bytes() + files.key.read_bytes())
        options = options[:2]
    with serve("tcp://127.0.0.1:0", *SHOUT, *options) as program, dial(program.port()) as client:
        with context.wrap_socket(client.sock, server_hostname="localhost") as client.sock:
            assert client.ask(b"hello\n") == b"HELLO\n"
            program.signal()
            assert client.rest() == b""


def test_all_addresses_of_the_machine():
    with serve("tcp://*:0", *ECHO) as program:
        program.wait_for(r"listens on tcp://0\.0\.0\.0:\d+")
        with dial(program.port()) as client:
            client.say(b"x")
            assert client.exactly(1) == b"x"
            program.signal()
            assert client.rest() == b""


def test_a_handler_of_ones_own_is_found_in_the_working_directory(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import triosock\n"
        "class Greeter(triosock.StreamHandler):\n"
        "    async def handle(self):\n"
        "        await self.conn.send_all(b'welcome\\n')\n"
        "class Space:\n"
        "    greet = Greeter.serve\n"
    )
    for name in ("mine:Greeter", "mine:Space.greet"):
        with serve("tcp://127.0.0.1:0", "--handler", name, cwd=tmp_path) as program:
            with dial(program.port()) as client:
                assert client.rest() == b"welcome\n"


def test_limits_and_the_proxy_protocol_reach_the_server():
    options = ["--max-connections-per-peer", 1, "--log-level", "debug", "--proxy"]
    with serve("tcp://127.0.0.1:0", *ECHO, *options) as program:
        with dial(program.port()) as client:
            client.say(b"PROXY TCP4 192.0.2.7 127.0.0.1 5000 80\r\nhello")
            assert client.exactly(5) == b"hello"
            with dial(program.port()) as second:
                # The limit is for each client, who is known when the header has come.
                second.say(b"PROXY TCP4 192.0.2.7 127.0.0.1 5001 80\r\n")
                assert second.rest() == b""
        program.wait_for(r"DEBUG .*192\.0\.2\.7:5001 refused: peer")


def test_timeouts_reach_the_server():
    options = ["--idle-timeout", "0.2", "--log-level", "debug"]
    with serve("tcp://127.0.0.1:0", *ECHO, *options) as program:
        with dial(program.port()) as client:
            assert client.rest() == b""
        program.wait_for(r"DEBUG .*connection 1 of tcp://\S+ closed after \S+ s: idle")


def test_rates_reach_the_server():
    rates = ("--rate-per-peer", "1/h:3", "--request-rate-per-peer", "1000/s:1")
    with serve("tcp://127.0.0.1:0", *ECHO, *rates, "--log-level", "debug") as program:
        port = program.port()
        for _ in range(3):
            with dial(port) as client:
                assert client.ask(b"hello\n") == b"hello\n"
        with dial(port) as client:
            assert client.rest() == b""
        program.wait_for("refused: rate_per_peer")


@pytest.mark.parametrize("rate", ["0/s", "20", "nan/s", "20/d"])
def test_what_is_no_rate_is_said_to_be_none(rate, refused):
    assert "argument --rate: " in refused(["serve", "tcp://127.0.0.1:0", *ECHO, "--rate", rate])


def test_the_grace_is_the_end_for_the_busy():
    with serve("tcp://127.0.0.1:0", *SHOUT, "--grace", "0.2") as program, dial(program.port()) as client:
        assert client.ask(b"first\nhalf") == b"FIRST\n"
        program.signal()
        assert client.reset() == b""
    assert "0 finished, 0 failed, 0 left, 1 cancelled, 0 refused" in program.output


def test_a_second_signal_ends_it_at_once():
    with running(*SERVE, "tcp://127.0.0.1:0", *SHOUT) as program, dial(program.port()) as client:
        assert client.ask(b"first\nhalf") == b"FIRST\n"
        program.signal()
        program.wait_for("drains: 1 connection")
        program.signal_again(signal.SIGINT)
        assert program.wait() == 128 + signal.SIGINT


def test_what_the_machine_refuses_is_exit_code_1_and_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        for words, reason in (
            ([address], f"{address}: cannot listen on "),
            (
                ["tcp://127.0.0.1:0", "--tls-cert", tmp_path / "none.pem"],
                "cannot use the certificate and key in ",
            ),
            (["fd://web"], "no socket named 'web' was handed down, or it is taken; there are: none"),
            (
                ["fd://web", "--workers", 1],
                "no socket named 'web' was handed down, or it is taken; there are: none",
            ),
        ):
            with running(*SERVE, *words, *ECHO) as program:
                assert program.wait() == 1
            assert program.output.startswith(f"triosock: {reason}")
            assert len(program.output.splitlines()) == 1


def test_a_program_that_a_worker_has_started_is_no_worker():
    with serve("tcp://127.0.0.1:0", *SHOUT, TRIOSOCK_WORKER="1") as program:
        with dial(program.port()) as client:
            assert client.ask(b"hello\n") == b"HELLO\n"
        program.signal()
        assert program.wait() == 0
    assert "worker" not in program.output


HANDED_DOWN = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        (socket.SOCK_DGRAM, "proxy = true", "TLS and the PROXY protocol are for streams, not for datagrams"),
        (socket.SOCK_DGRAM, "tls.certificate = '{pem}'", "TLS and the PROXY protocol are for streams"),
        (socket.SOCK_STREAM, "sessions.idle = 4", "sessions are for datagrams, not for streams"),
    ],
)
@pytest.mark.parametrize("workers", ["", "workers = 1"])
def test_an_inherited_socket_of_the_wrong_kind_is_not_served_without_what_was_asked_for(
    tmp_path, kind, options, complaint, workers
):
    files = write(tmp_path, trustme.CA(), "localhost")
    pem = tmp_path / "both.pem"
    pem.write_bytes(files.chain.read_bytes() + files.key.read_bytes())
    config = tmp_path / "server.toml"
    endpoint = '[endpoints.web]\naddress = "fd://web"\nhandler = "triosock.cli.handlers:echo"'
    config.write_text("\n".join([workers, endpoint, options.format(pem=pem)]))
    with socket.socket(type=kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        words = [sys.executable, "-c", HANDED_DOWN, str(sock.fileno())]
        ended = subprocess.run(
            [*words, *SERVE, "--config", str(config)],
            pass_fds=[sock.fileno()],
            env=own_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert ended.returncode == (1 if workers else 2)
    assert f"web: {complaint}" in ended.stderr
    assert "Traceback" not in ended.stderr
