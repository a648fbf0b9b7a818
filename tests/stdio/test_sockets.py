"""Standard input and output that are a socket: what inetd and a service manager give."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest

from tests.handlers import reset
from tests.pairs import blocking_pair
from tests.programs import PATIENCE, ROOT
from tests.stdio.programs import PROGRAM, RUN, ask, ending, inetd, line_of, start, with_tls

#: For a port that is freed before it is bound: no other program binds one here meanwhile.
OURS = "127.0.0.78"

# Sockets: inetd


def test_under_inetd_the_peer_is_known_and_nothing_else_gets_into_the_stream() -> None:
    with inetd() as (client, process):
        host, port = client.getsockname()
        assert ask(client, b"who\n") == f"tcp://{host}:{port}\n".encode()
        assert ask(client, b"say\n") == b"said\n"
        assert ask(client, b"hello\n") == b"HELLO\n"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    assert process.returncode == 0


def test_the_end_of_the_connection_is_not_that_of_the_process() -> None:
    program = PROGRAM + (
        "async def main():\n"
        "    report = await triosock.serve_stdio(handle)\n"
        "    assert report.drained\n"
        "    await trio.sleep(60)\n"
        "triosock.run(main)\n"
    )
    with inetd(program) as (client, process):
        assert ask(client, b"bye\n") == b"goodbye\n"
        assert client.recv(100) == b""
        assert process.poll() is None
        process.kill()


def test_a_handler_that_fails_ends_with_a_reset() -> None:
    with inetd() as (client, process):
        client.sendall(b"fail\n")
        with pytest.raises(ConnectionResetError):
            while client.recv(100):
                pass
    assert process.returncode == 0


def test_a_client_that_has_reset_before_the_program_begins_is_no_error() -> None:
    client, accepted = blocking_pair()
    reset(client)
    with accepted, ending(start(stdin=accepted, stdout=accepted, stderr=-1)) as process:
        errors = process.stderr.read()
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors


def test_tls_is_put_on_what_inetd_gives(tmp_path: Any) -> None:
    program, trusting = with_tls(tmp_path)
    with inetd(program) as (client, process):
        with trusting.wrap_socket(client, server_hostname="server.test") as encrypted:
            assert ask(encrypted, b"hello\n") == b"HELLO\n"
    assert process.returncode == 0


@pytest.mark.parametrize("kind", ["listening", "datagrams"])
def test_a_socket_that_is_no_connection_is_said_to_be_none(kind: str) -> None:
    listens = kind == "listening"
    with socket.socket(type=socket.SOCK_STREAM if listens else socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        if listens:
            sock.listen()
        with ending(start(stdin=sock, stdout=sock, stderr=-1)) as process:
            errors = process.stderr.read()
        assert process.returncode == 1
        assert b"ValueError: stdin is a socket, and no connection" in errors


def test_a_mistake_in_the_arguments_is_raised_before_anything_is_taken_over() -> None:
    program = PROGRAM + (
        "async def main():\n"
        "    try:\n"
        "        await triosock.serve_stdio(print)\n"
        "    except TypeError:\n"
        "        print('stdout is as it was', flush=True)\n"
        "trio.run(main)\n"
    )
    with inetd(program) as (client, process):
        assert line_of(client) == b"stdout is as it was\n"
    assert process.returncode == 0


# Sockets: a service manager


def handed_down(sock: socket.socket, **environment: str) -> subprocess.Popen[bytes]:
    """Start the program with a socket as descriptor 3, as sd_listen_fds(3) has it."""
    number = sock.fileno()
    first = (
        "import os, sys\n"
        f"os.dup2({number}, 3, inheritable=True)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='connection')\n"
        "os.execv(sys.executable, [sys.executable, '-X', 'dev', '-c', sys.argv[1]])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", first, textwrap.dedent(RUN)],
        pass_fds=[number],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def test_a_connection_that_is_handed_down_is_served_and_stdin_is_not() -> None:
    client, accepted = blocking_pair()
    client.settimeout(PATIENCE)
    with client:
        process = handed_down(accepted)
        accepted.close()
        with ending(process):
            host, port = client.getsockname()
            assert ask(client, b"who\n") == f"tcp://{host}:{port}\n".encode()
            assert ask(client, b"bye\n") == b"goodbye\n"
            assert client.recv(100) == b""
            client.close()
            assert b"listens on tcp://127.0.0.1:" in process.stderr.read()
    assert process.returncode == 0


def test_of_one_who_has_gone_the_service_manager_knows_the_address() -> None:
    program = (
        "import os, socket, sys\n"
        "from triosock._core.listeners.stdio import open_stdio\n"
        "with open_stdio() as standard: print(standard.peer)\n"
    )
    sock = socket.socket()  # never connected: so it has no peer
    with sock:
        environment = {"REMOTE_ADDR": "2001:db8::1", "REMOTE_PORT": "5000", "PYTHONPATH": str(ROOT)}
        first = program.replace(
            "with open_stdio()",
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
            f"os.dup2({sock.fileno()}, 3)\nwith open_stdio()",
        )
        done = subprocess.run(
            [sys.executable, "-c", first],
            pass_fds=[sock.fileno()],
            env={**os.environ, **environment},
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
    assert done.stdout == b"tcp://[2001:db8::1]:5000\n"


@pytest.mark.parametrize("more", [["--accept"], ["--accept", "--inetd"]])
def test_systemd_starts_one_for_each_connection(more: list[str]) -> None:
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        pytest.skip("systemd-socket-activate is not installed")
    with socket.create_server((OURS, 0)) as free:
        port = free.getsockname()[1]
    command = [tool, *more, "-l", f"{OURS}:{port}", "-E", f"PYTHONPATH={ROOT}", "-E", "PATH"]
    serve = [sys.executable, "-m", "triosock", "serve", "stdio:", "--handler", "triosock.cli.handlers:shout"]
    with ending(subprocess.Popen([*command, *serve], stderr=subprocess.PIPE, cwd=ROOT)) as manager:
        clients = [connect(port) for _ in range(2)]
        try:
            for client in clients:
                client.settimeout(PATIENCE)
                assert ask(client, b"hello\n") == b"HELLO\n"
                client.shutdown(socket.SHUT_WR)
                assert client.recv(100) == b""
        finally:
            for client in clients:
                client.close()
            manager.terminate()


def connect(port: int) -> socket.socket:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((OURS, port))
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.02)
