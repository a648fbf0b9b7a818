"""examples/compat: each one run, and asked by a real client."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import xmlrpc.client
from collections.abc import Callable, Iterator

import pytest

from tests.programs import ROOT, Program, dial, printed, running, tool

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples" / "compat"
SERVERS = {
    "tcp", "lines", "udp", "processes", "http_hello", "xmlrpc_sums",
    "green_chat", "green_http", "green_xmlrpc", "migrate_1_stdlib", "migrate_2_compat", "migrate_3_native",
}  # fmt: skip


Serve = Callable[[str], tuple[int, Program]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(name)`: start an example that serves; returns its port and its process."""
    with contextlib.ExitStack() as stack:

        def serve(name: str) -> tuple[int, Program]:
            program = stack.enter_context(running(EXAMPLES / f"{name}.py", 0))
            return int(program.wait_for(r" port (\d+)\n")[1]), program

        yield serve


def ask(port: int, data: bytes) -> bytes:
    with dial(port) as client:
        client.say(data)
        client.sock.shutdown(socket.SHUT_WR)
        return client.rest()


@pytest.mark.parametrize("name", ["tcp", "lines", "migrate_1_stdlib", "migrate_2_compat", "migrate_3_native"])
def test_those_that_shout(name: str, serve: Serve) -> None:
    port, program = serve(name)
    said = b"hello\nworld\n" if name != "tcp" else b"hello"
    assert ask(port, said) == said.upper()
    program.signal(signal.SIGINT)
    if name in ("migrate_2_compat", "migrate_3_native"):
        assert program.wait() == 0
        assert "drained in" in program.output
    else:
        program.expects_trouble = True
        program.wait()
        assert "KeyboardInterrupt" in program.output


def test_udp(serve: Serve) -> None:
    port, _ = serve("udp")
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.sendto(b"hello", ("127.0.0.1", port))
        assert client.recv(100) == b"HELLO"


def test_processes(serve: Serve) -> None:
    port, program = serve("processes")
    for _ in range(3):
        assert ask(port, b"who\n") == b"a child of %d\n" % program.process.pid


def test_http_by_curl_over_one_connection(serve: Serve) -> None:
    port, _ = serve("http_hello")
    urls = [f"http://127.0.0.1:{port}/{name}" for name in ("one", "two")]
    said = tool("curl", "-sS", "--max-time", "20", "-w", "%{num_connects}\n", *urls)
    assert said == b"hello one\n1\nhello two\n0\n"


def test_xmlrpc(serve: Serve) -> None:
    port, _ = serve("xmlrpc_sums")
    with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}") as service:
        assert service.sum([1, 2, 3]) == 6


def run(name: str, *arguments: object) -> str:
    return printed("-W", "error", EXAMPLES / f"{name}.py", *arguments, timeout=120)


def test_threads() -> None:
    numbered = [f"answer {number} from (process_request_thread)\n" for number in (1, 2, 3)]
    assert run("threads") == "".join(numbered)


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


def test_a_green_chat_sends_to_everybody(serve: Serve) -> None:
    pytest.importorskip("greenlet")
    port, program = serve("green_chat")
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(5):
            clients.append(stack.enter_context(dial(port)))
            assert clients[-1].ask(b"hello\n") == b"hello\n"  # so it is a member
        for number, client in enumerate(clients):
            assert client.exactly(6 * (4 - number)) == b"hello\n" * (4 - number)
            client.sock.close()
    stop(program)


@pytest.mark.parametrize("clients", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_green_http_keeps_connections_open(serve: Serve, clients: int) -> None:
    pytest.importorskip("greenlet")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < clients + 100:
        pytest.skip("this machine allows fewer descriptors")
    port, program = serve("green_http")
    assert run("green_http", port, clients) == f"{2 * clients} answers\n"
    stop(program)


def test_green_xmlrpc_answers_others_while_one_blocks(serve: Serve) -> None:
    pytest.importorskip("greenlet")
    port, program = serve("green_xmlrpc")
    with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}") as proxy:
        assert proxy.slow_add(1, 2) == 3
        assert proxy.add(40, 2) == 42
    stop(program)


def stop(program: Program) -> None:
    program.signal(signal.SIGINT)
    assert program.wait() == 0
    _, said = program.output.split("\n", 1)
    assert said == "bye\n"
