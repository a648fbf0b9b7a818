"""Green servers: sync handlers in trio tasks, with real sockets."""

from __future__ import annotations

import math
import os
import socket
import ssl
import threading
from decimal import Decimal
from typing import Any

import pytest
import trio
import trio.testing

from tests.compat.conftest import host_threads, read_all
from tests.programs import printed
from tests.waiting import PATIENCE
from triosock import Cause, compat
from triosock.compat.bridge.trio_thread import THREAD_NAME
from triosock.compat.loading import late_green

watch = late_green("watch")


class Echo(compat.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


class Hanging(compat.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(1)


def test_many_handlers_wait_at_once_in_one_thread_and_a_drain_ends_them(start: Any) -> None:
    before = set(threading.enumerate())
    running = start("GreenTCPServer", Echo, request_queue_size=200)
    clients = [running.dial(b"hello\n") for _ in range(200)]
    assert {client.recv(100) for client in clients} == {b"HELLO\n"}
    begun = {thread.name for thread in set(threading.enumerate()) - before}
    assert begun == {"serving", THREAD_NAME, watch.THREAD_NAME}
    report = compat.drain(running.server, grace=20)
    assert (report.finished, report.cancelled) == (200, 0)
    assert {client.recv(1) for client in clients} == {b""}
    for client in clients:
        client.close()
    running.join()
    running.server.server_close()
    assert not host_threads()


def test_a_request_beyond_its_time_is_cancelled(start: Any, capsys: Any) -> None:
    ended: list[BaseException] = []

    def handle(request: Any, *args: Any) -> None:
        try:
            request.recv(1)
        except BaseException as error:
            ended.append(error)
            raise

    policy = compat.Policy(mode="green", request_timeout=0.1)
    running = start("ThreadingTCPServer", handle, trio_policy=policy)
    assert read_all(running.dial()) == b""
    running.end()
    assert [type(error) for error in ended] == [trio.Cancelled]
    assert compat.statistics(running.server).ended == {Cause.REQUEST: 1}
    assert capsys.readouterr().err == ""


def test_who_catches_the_cancellation_is_named(start: Any, capsys: Any) -> None:
    class Swallows(compat.BaseRequestHandler):
        def handle(self) -> None:
            try:
                self.request.recv(1)
            except BaseException:
                pass

    policy = compat.Policy(request_timeout=0.1)
    running = start("GreenTCPServer", Swallows, trio_policy=policy)
    assert read_all(running.dial()) == b""
    running.end()
    error = capsys.readouterr().err
    assert "Swallows" in error
    assert "trio.Cancelled" in error


def test_timeouts_are_those_of_a_socket(start: Any) -> None:
    def handle(request: Any, *args: Any) -> None:
        seen = []
        for wait in (0.05, 0.0):
            request.settimeout(wait)
            try:
                request.recv(1)
            except OSError as error:
                seen.append(f"{type(error).__name__}: {error}")
        request.sendall("|".join(seen).encode())

    expected = f"TimeoutError: timed out|BlockingIOError: [Errno 11] {os.strerror(11)}"
    assert read_all(start("GreenTCPServer", handle).dial()).decode() == expected


@pytest.mark.parametrize("wrong", [-1, -0.5, math.nan, 1e300, "5", Decimal(5), [], 5j])
def test_a_wrong_timeout_is_the_same_error_as_that_of_a_socket(start: Any, wrong: Any) -> None:
    def error_of(sock: Any) -> str:
        try:
            sock.settimeout(wrong)  # 3.15 takes a Decimal
        except (ValueError, TypeError, OverflowError) as error:
            return f"{type(error).__name__}: {error} {sock.gettimeout()}"
        return f"accepted: {sock.gettimeout()}"

    def handle(request: Any, *args: Any) -> None:
        request.settimeout(7)
        request.sendall(error_of(request).encode())

    with socket.socket() as plain:
        plain.settimeout(7)
        assert read_all(start("GreenTCPServer", handle).dial()).decode() == error_of(plain)


@pytest.mark.parametrize("kind", ["ThreadingTCPServer", "GreenTCPServer"])
def test_without_a_wait_tls_says_what_it_waits_for(start_tls: Any, contexts: Any, kind: str) -> None:
    looked = threading.Event()

    def handle(request: Any, *args: Any) -> None:
        request.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            request.recv(1)
        looked.set()
        request.settimeout(None)
        request.sendall(request.recv(3))

    with contexts[1].wrap_socket(start_tls(kind, handle).dial(), server_hostname="localhost") as client:
        assert looked.wait(PATIENCE)
        client.sendall(b"one")
        assert client.recv(3) == b"one"


def test_a_large_answer_to_a_slow_reader_arrives_whole_while_others_are_served(start: Any) -> None:
    large = os.urandom(8_000_000)

    def handle(request: Any, *args: Any) -> None:
        request.sendall(large if request.recv(1) == b"l" else b"small")

    running = start("GreenTCPServer", handle)
    with running.dial(b"l") as slow:
        assert read_all(running.dial(b"s")) == b"small"
        assert read_all(slow) == large


def test_blocking_and_sleep_and_run_let_others_go_on(start: Any) -> None:
    gate = threading.Event()

    async def double(number: int) -> int:
        await trio.sleep(0)
        return number * 2

    def handle(request: Any, *args: Any) -> None:
        if request.recv(1) == b"w":
            compat.sleep(0.01)
            request.sendall(str(compat.blocking(gate.wait, 20)).encode())
        else:
            gate.set()
            request.sendall(str(compat.run(double, 21)).encode())

    running = start("GreenTCPServer", handle)
    with running.dial(b"w") as waits, running.dial(b"o") as other:
        assert read_all(other) == b"42"
        assert read_all(waits) == b"True"


def test_a_thread_cannot_wait_in_a_green_socket_and_is_told(start: Any) -> None:
    seen: list[str] = []

    def handle(request: Any, *args: Any) -> None:
        def use() -> None:
            try:
                request.recv(1)
            except RuntimeError as error:
                seen.append(str(error))

        thread = threading.Thread(target=use)
        thread.start()
        compat.blocking(thread.join)

    assert read_all(start("GreenTCPServer", handle).dial()) == b""
    assert "only wait in the task that handles it" in seen[0]


def test_a_handler_may_shut_its_server_down(start: Any) -> None:
    def handle(request: Any, address: Any, server: Any) -> None:
        server.shutdown()
        request.sendall(b"bye")

    running = start("GreenTCPServer", handle)
    assert read_all(running.dial()) == b"bye"
    running.join()


async def test_served_in_a_trio_program_and_cancelled_with_it() -> None:
    server = compat.GreenTCPServer(("127.0.0.1", 0), Hanging)
    async with trio.open_nursery() as nursery:
        await nursery.start(compat.serve, server)
        with socket.create_connection(server.server_address) as client:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(client.dup()))
            while not compat.statistics(server).active:
                await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await stream.aclose()
    assert compat.statistics(server).ended == {Cause.PARENT: 1}
    assert server.fileno() == -1


def test_what_cannot_be_green_is_refused_when_it_is_made() -> None:
    class Forks(compat.GreenMixIn, compat.ForkingTCPServer):
        pass

    class Alone(compat.TCPServer):
        trio_policy = compat.Policy(mode="green")

    with pytest.raises(TypeError, match="Forks forks"):
        Forks(("127.0.0.1", 0), Echo)
    with pytest.raises(TypeError, match="put GreenMixIn or ThreadingMixIn in front"):
        Alone(("127.0.0.1", 0), Echo)


WITHOUT = """
import importlib.util, inspect, sys

class Nothing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("greenback", "greenlet"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing)
from triosock import compat

print("GreenMixIn" in dir(compat), "Policy" in dict(inspect.getmembers(compat)))
try:
    compat.GreenMixIn
except ImportError as error:
    print(error)

class Server(compat.ThreadingTCPServer):
    trio_policy = compat.Policy(mode="green")

try:
    Server(("127.0.0.1", 0), print)
except RuntimeError as error:
    print(error)
print(sorted(name for name in sys.modules if "green" in name))
"""


def test_without_the_extra_its_names_are_not_shown_and_who_asks_is_told_what_to_install() -> None:
    shown, name, server, modules = printed("-c", WITHOUT).splitlines()
    assert (shown, modules) == ("False True", "[]")
    assert name == server
    assert name.startswith("a green server needs greenlet: python -m pip install 'greenlet>=3.1' (or ")


PROGRAM = """
import socket, socketserver, threading

class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(threading.current_thread().name.encode())

with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever).start()
    with socket.create_connection(server.server_address) as client:
        print(client.recv(100).decode())
    server.shutdown()
"""


def test_an_unedited_program_turns_green(tmp_path: Any) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    assert printed("-m", "triosock.compat", "--green", script) == f"{THREAD_NAME}\n"
