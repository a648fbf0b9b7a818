"""examples/compat: each one run, and asked by a real client."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "compat"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
SERVERS = {
    "tcp", "lines", "udp", "processes", "http_hello", "xmlrpc_sums",
    "green_chat", "green_http", "green_xmlrpc", "migrate_1_stdlib", "migrate_2_compat", "migrate_3_native",
}  # fmt: skip


@pytest.fixture
def serve() -> Iterator[Any]:
    """`serve(name)`: start an example that serves; returns its port and its process."""
    processes = []

    def serve(name: str) -> tuple[int, subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / f"{name}.py"), "0"],
            env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"port (\d+)", line)
        if found is None:
            process.kill()
            pytest.fail(f"{name} said {line!r}: {process.communicate()[1]}")
        return int(found[1]), process

    yield serve
    for process in processes:
        process.kill()
        process.communicate()


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    return process.returncode, err


def ask(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        parts = []
        while part := client.recv(1000):
            parts.append(part)
        return b"".join(parts)


@pytest.mark.parametrize("name", ["tcp", "lines", "migrate_1_stdlib", "migrate_2_compat", "migrate_3_native"])
def test_those_that_shout(name: str, serve: Any) -> None:
    port, process = serve(name)
    assert ask(port, b"hello\nworld\n" if name != "tcp" else b"hello") == (
        b"HELLO\nWORLD\n" if name != "tcp" else b"HELLO"
    )
    code, err = interrupt(process)
    if name in ("migrate_2_compat", "migrate_3_native"):
        assert code == 0
        assert "drained in" in err
    else:
        assert "KeyboardInterrupt" in err


def test_udp(serve: Any) -> None:
    port, _ = serve("udp")
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.sendto(b"hello", ("127.0.0.1", port))
        assert client.recv(100) == b"HELLO"


def test_processes(serve: Any) -> None:
    port, process = serve("processes")
    for _ in range(3):
        assert ask(port, b"who\n") == b"a child of %d\n" % process.pid


def test_http_by_curl_over_one_connection(serve: Any) -> None:
    port, _ = serve("http_hello")
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", "-w", "%{num_connects}\n"]
        + [f"http://127.0.0.1:{port}/{name}" for name in ("one", "two")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "hello one\n1\nhello two\n0\n"


def test_xmlrpc(serve: Any) -> None:
    port, _ = serve("xmlrpc_sums")
    with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}") as service:
        assert service.sum([1, 2, 3]) == 6


def run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_threads() -> None:
    assert run("threads") == "".join(
        f"answer {number} from (process_request_thread)\n" for number in (1, 2, 3)
    )


def test_drain_under_load() -> None:
    report, idle, busy = run("drain_under_load").splitlines()
    assert report.endswith("4 finished, 0 failed, 0 left, 0 cancelled, 0 refused")
    assert idle == "the idle one got b''"
    assert busy == "the busy ones got [b'WORK\\n', b'WORK\\n', b'WORK\\n']"


def test_beside_native() -> None:
    first, *drained = run("beside_native").splitlines()
    assert first == "b'HELLO\\n' b'hello\\n'"
    assert len(drained) == 2
    assert all(line.endswith("drained, clean: True") for line in drained)


def test_none_is_left_out() -> None:
    others = {"threads", "drain_under_load", "beside_native"}
    assert {path.stem for path in EXAMPLES.glob("*.py") if path.stem != "__init__"} == SERVERS | others


def test_a_green_chat_sends_to_everybody(serve: Any) -> None:
    pytest.importorskip("greenlet")
    port, process = serve("green_chat")
    clients: list[socket.socket] = []
    for _ in range(5):
        client = socket.create_connection(("127.0.0.1", port), 20)
        clients.append(client)
        client.sendall(b"hello\n")
        assert receive(client, 6) == b"hello\n"  # so it is a member
    for number, client in enumerate(clients):
        assert receive(client, 6 * (4 - number)) == b"hello\n" * (4 - number)
        client.close()
    stop(process)


@pytest.mark.parametrize("clients", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_green_http_keeps_connections_open(serve: Any, clients: int) -> None:
    pytest.importorskip("greenlet")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < clients + 100:
        pytest.skip("this machine allows fewer descriptors")
    port, process = serve("green_http")
    command = [sys.executable, str(EXAMPLES / "green_http.py"), str(port), str(clients)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == (f"{2 * clients} answers\n", "")
    stop(process)


def test_green_xmlrpc_answers_others_while_one_blocks(serve: Any) -> None:
    pytest.importorskip("greenlet")
    port, process = serve("green_xmlrpc")
    with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}") as proxy:
        assert proxy.slow_add(1, 2) == 3
        assert proxy.add(40, 2) == 42
    stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("bye\n", "", 0)


def receive(client: socket.socket, size: int) -> bytes:
    """Return so many bytes, or what came before the end."""
    data = b""
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return data
