"""The hooks of green servers: their order, where they run, and what passes through them."""

from __future__ import annotations

import contextvars
import socket
import socketserver
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

from tests.compat.conftest import read_all
from tests.servers import serving_in_a_thread
from tests.waiting import eventually
from triosock import Cause, compat
from triosock.compat.bridge.trio_thread import THREAD_NAME
from triosock.compat.loading import late_green as green

HOOKS = (
    "verify_request",
    "process_request",
    "process_request_thread",
    "finish_request",
    "handle_error",
    "shutdown_request",
    "close_request",
)


def noting(log: list[str], base: type) -> dict[str, Any]:
    """Hooks for a subclass of this one: they take note."""

    def hook(name: str) -> Any:
        def call(self: Any, *args: Any) -> Any:
            log.append(name)
            return getattr(base, name)(self, *args)

        return call

    return {name: hook(name) for name in HOOKS if hasattr(base, name)}


def handler(module: Any, log: list[str], fails: bool) -> type:
    class Handler(module.BaseRequestHandler):
        def setup(self) -> None:
            log.append("setup")

        def handle(self) -> None:
            log.append("handle")
            if fails:
                raise ValueError("as told")

        def finish(self) -> None:
            log.append("finish")

    return Handler


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_come_in_the_order_of_the_standard_library(fails: bool, capsys: Any) -> None:
    logs: list[list[str]] = []
    for module, kind in ((socketserver, "ThreadingTCPServer"), (compat, "GreenTCPServer")):
        log: list[str] = []
        logs.append(log)
        base = getattr(module, kind)
        server_class: Any = type(kind, (base,), noting(log, base))
        with server_class(("127.0.0.1", 0), handler(module, log, fails)) as server:
            with serving_in_a_thread(server, 0.01):
                read_all(socket.create_connection(server.server_address))
    assert logs[0] == logs[1]
    assert ("handle_error" in logs[0]) is fails


def test_the_request_s_hooks_run_in_its_task(start: Any) -> None:
    seen: dict[str, tuple[str, bool]] = {}

    def note(name: str) -> None:
        seen[name] = (threading.current_thread().name, green("tasks").current() is not None)

    class Handler(compat.BaseRequestHandler):
        def handle(self) -> None:
            note("handle")

    def finish_request(self: Any, *args: Any) -> None:
        note("finish_request")
        compat.GreenTCPServer.finish_request(self, *args)

    def process_request(self: Any, *args: Any) -> None:
        note("process_request")
        compat.GreenTCPServer.process_request(self, *args)

    running = start("GreenTCPServer", Handler, finish_request=finish_request, process_request=process_request)
    read_all(running.dial())
    assert seen == {
        "process_request": ("serving", False),
        "finish_request": (THREAD_NAME, True),
        "handle": (THREAD_NAME, True),
    }


def test_a_hook_that_is_replaced_while_the_server_waits_is_called(start: Any) -> None:
    running = start("GreenTCPServer", lambda request, *args: request.sendall(b"served"))
    assert read_all(running.dial()) == b"served"
    running.server.verify_request = lambda *args: False
    assert read_all(running.dial()) == b""
    del running.server.verify_request
    assert read_all(running.dial()) == b"served"


def test_a_cancellation_passes_the_hooks_and_finish_runs(start: Any, capsys: Any) -> None:
    log: list[str] = []

    class Handler(compat.StreamRequestHandler):
        def handle(self) -> None:
            try:
                self.rfile.readline()
            except Exception:
                log.append("it is no Exception")

        def finish(self) -> None:
            log.append("finish")
            super().finish()

    policy = compat.Policy(request_timeout=0.05)
    hooks = noting(log, compat.GreenTCPServer)
    running = start("GreenTCPServer", Handler, trio_policy=policy, **hooks)
    assert read_all(running.dial()) == b""
    running.end()
    assert log[-3:] == ["finish", "shutdown_request", "close_request"]
    assert "handle_error" not in log
    assert compat.statistics(running.server).ended == {Cause.REQUEST: 1}
    assert capsys.readouterr().err == ""


def test_shutdown_comes_from_any_thread(start: Any, raw: Any) -> None:
    running = start("GreenTCPServer", raw)
    client = running.dial(b"a")
    assert client.recv(1) == b"A"
    with ThreadPoolExecutor(1) as pool:
        pool.submit(running.server.shutdown).result(20)
    running.join()
    # The request goes on, as one with a thread does.
    client.sendall(b"b")
    assert client.recv(1) == b"B"
    client.close()


def test_service_actions_and_the_interval_are_those_of_the_loop(start: Any, raw: Any) -> None:
    calls: list[str] = []

    class Server(compat.GreenTCPServer):
        def service_actions(self) -> None:
            calls.append(threading.current_thread().name)

    with Server(("127.0.0.1", 0), raw) as server:
        with serving_in_a_thread(server, 0.01):
            assert eventually(lambda: len(calls) > 3)
    assert set(calls) == {"serving"}


# What belongs to a request and what to the thread

COUNT: contextvars.ContextVar[int] = contextvars.ContextVar("COUNT", default=0)


def test_context_variables_are_per_request_and_seen_by_what_is_awaited(start: Any) -> None:
    async def look() -> int:
        await trio.sleep(0)
        COUNT.set(COUNT.get() + 10)
        return COUNT.get()

    class Handler(compat.StreamRequestHandler):
        def handle(self) -> None:
            for _ in self.rfile:
                COUNT.set(COUNT.get() + 1)
                in_thread = compat.blocking(COUNT.get)
                self.wfile.write(f"{COUNT.get()} {in_thread} {compat.run(look)}\n".encode())

    running = start("GreenTCPServer", Handler)
    with running.dial() as one, running.dial() as other:
        answers = []
        for _ in range(2):
            for client in (one, other):
                client.sendall(b"\n")
                answers.append(client.recv(100))
    assert answers == [b"1 1 11\n"] * 2 + [b"12 12 22\n"] * 2


def test_thread_locals_are_shared(start: Any) -> None:
    local = threading.local()

    def handle(request: Any, *args: Any) -> None:
        local.count = getattr(local, "count", 0) + 1
        request.sendall(b"%d %d" % (local.count, threading.current_thread().ident or 0))

    running = start("GreenTCPServer", handle)
    with running.dial() as held:  # the thread of the host stays as long as the loop runs anyway
        first, second = held.recv(100).split(), read_all(running.dial()).split()
    assert (first[0], second[0]) == (b"1", b"2")
    assert first[1] == second[1]


def test_a_sqlite_connection_is_good_for_all_requests(start: Any) -> None:
    connections: list[sqlite3.Connection] = []

    def handle(request: Any, *args: Any) -> None:
        if not connections:
            connections.append(sqlite3.connect(":memory:"))  # of this thread only, as sqlite checks
        (value,) = connections[0].execute("select 6 * 7").fetchone()
        request.sendall(str(value).encode())
        if request.recv(1):
            connections.pop().close()

    running = start("GreenTCPServer", handle)
    with running.dial() as first:
        assert first.recv(10) == b"42"
        with running.dial() as second:
            assert second.recv(10) == b"42"
            second.sendall(b"c")
            assert second.recv(1) == b""
