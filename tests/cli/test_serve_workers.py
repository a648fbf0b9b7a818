"""`python -m triosock serve … --workers N`: parent and workers, as one program."""

from __future__ import annotations

import os
import signal
import socket
import sys

import pytest

from tests.programs import check_drain, dial, running, server_program

from .conftest import SERVE, SHOUT, serve, wait_for_restart


def test_workers_serve_restart_and_drain():
    with serve("tcp://127.0.0.1:0", *SHOUT, "--workers", 2, "--grace", 20) as program:
        port = int(program.wait_for(r"workers: 2 workers on tcp://127\.0\.0\.1:(\d+)")[1])
        check_drain(program, port, signal.SIGHUP)  # between two requests, and not in one
        wait_for_restart(program, 2)
        check_drain(program, port)
    assert "workers: drained in" in program.output


def test_a_unix_socket_has_its_mode_and_goes(tmp_path):
    path = tmp_path / "web"
    with serve(f"unix://{path}", *SHOUT, "--mode", "600", "--workers", "2") as program:
        program.wait_for("workers: 2 workers on unix://")
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


@pytest.mark.parametrize("more", [[], ["--workers", 2]])
def test_datagrams_are_served_too(tmp_path, more):
    (tmp_path / "answers.py").write_text(
        "import triosock\n"
        "class Shout(triosock.DatagramHandler):\n"
        "    async def handle(self):\n"
        "        await self.datagram.reply(self.datagram.data.upper())\n"
    )
    words = ["udp://127.0.0.1:0", "--handler", "answers:Shout", *more]
    with serve(*words, cwd=tmp_path) as program:
        port = int(program.wait_for(r"(?:listens|workers) on udp://127\.0\.0\.1:(\d+)")[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(30)
            client.sendto(b"hello", ("127.0.0.1", port))
            assert client.recv(100) == b"HELLO"


def test_a_handler_that_is_not_there_is_exit_code_1_and_says_so():
    with running(*SERVE, "tcp://127.0.0.1:0", "--handler", "none:none", "--workers", "1") as program:
        assert program.wait() == 1
        assert "there is no module 'none'" in program.output
        assert "exited with 2 before it was ready" in program.output.splitlines()[-1]


def test_a_second_signal_ends_all_at_once(tmp_path):
    (tmp_path / "stubborn.py").write_text(
        "import trio\n"
        "async def handle(conn):\n"
        "    await conn.receive_some()\n"
        "    await conn.send_all(b'busy')\n"
        "    await trio.sleep(600)\n"
    )
    options = ["--handler", "stubborn:handle", "--workers", 1, "--grace", 600]
    with running(*SERVE, "tcp://127.0.0.1:0", *options, cwd=tmp_path) as program:
        port = int(program.wait_for(r"workers: 1 workers on tcp://127\.0\.0\.1:(\d+)")[1])
        with dial(port) as client:
            client.say(b"x")
            assert client.exactly(4) == b"busy"
            program.signal()
            program.wait_for("drains: 1 connection")
            program.signal_again(signal.SIGINT)
            assert program.wait() == 128 + signal.SIGINT


def test_a_worker_whose_event_loop_stands_prints_its_stack_and_is_replaced(tmp_path):
    (tmp_path / "blocks.py").write_text(
        "import time\nasync def handle(conn):\n    async for line in conn.lines():\n        time.sleep(600)\n"
    )
    (tmp_path / "service.toml").write_text(
        "workers = 1\n"
        "supervision = { watchdog = 1.0 }\n"
        'endpoints.web = { address = "tcp://127.0.0.1:0", handler = "blocks:handle" }\n'
    )
    with serve("--config", "service.toml", cwd=tmp_path) as program:
        port = int(program.wait_for(r"workers: 1 workers on tcp://127\.0\.0\.1:(\d+)")[1])
        with dial(port) as client:
            client.say(b"x\n")
            program.wait_for(r"Fatal Python error: Aborted(?s:.*)in handle")
            program.wait_for(r"was killed \(its event loop stood for 1 s\)(?s:.*)is ready")


@pytest.mark.skipif(not os.path.exists("/usr/bin/systemd-socket-activate"), reason="systemd is not installed")
def test_an_activated_parent_hands_its_sockets_on(tmp_path):
    path = tmp_path / "socket"
    # The first connection starts the program.
    launcher = (
        "import os, sys; os.execv('/usr/bin/systemd-socket-activate', ['systemd-socket-activate', '-l', "
        f"'{path}', '--fdname=web', '-E', 'PYTHONPATH', sys.executable, *sys.argv[1:]])"
    )
    with server_program("-c", launcher, *SERVE, "fd://web", *SHOUT, "--workers", 2) as program:
        program.wait_for("Listening on")
        check_drain(program, path)


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of processes of its own needs root")
def test_as_process_1_of_a_container_it_drains_and_reaps():
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable]
    launcher = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    serve = [*SERVE, "tcp://127.0.0.1:0", *SHOUT, "--workers", 1]
    with running("-c", launcher, *command, *serve) as program:
        port = int(program.wait_for(r"workers: 1 workers on tcp://127\.0\.0\.1:(\d+)")[1])
        (inside,) = children_of(program.process.pid)
        with dial(port) as client:
            assert client.ask(b"hello\n") == b"HELLO\n"
            os.kill(inside, signal.SIGTERM)
            assert client.rest() == b""
        assert program.wait() == 0
        assert "workers: drained in" in program.output


def children_of(process: int) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children") as file:
        return [int(one) for one in file.read().split()]


def test_tell_prints_the_events_of_all_workers_as_they_happen(tmp_path):
    path = tmp_path / "control"
    with serve("tcp://127.0.0.1:0", *SHOUT, "--workers", 1, "--control", path) as program:
        port = int(program.wait_for(r"workers on tcp://127\.0\.0\.1:(\d+)")[1])
        with running("-m", "triosock", "tell", path, "events", "--kinds", "ConnectionClosed") as reader:
            reader.wait_for(r'"event": "WorkerReady"')
            with dial(port) as client:
                client.say(b"hello\n")
                client.line()
            reader.wait_for(r'"worker": 1, "event": "ConnectionClosed"')
            program.signal()
            assert reader.wait() == 0  # the stream ends with the service
