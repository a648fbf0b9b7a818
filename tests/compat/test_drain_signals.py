"""drain() in a signal handler, which interrupts another call of its own thread."""

from __future__ import annotations

import signal
import socket
import threading
from typing import Any

import pytest
import trio
import trio.testing

from tests.programs import python
from tests.waiting import PATIENCE, eventually, in_a_thread, returns
from triosock import compat
from triosock.compat.bridge import calls, trio_thread
from triosock.compat.requests.table import request_table_of

SECOND_SIGNAL = """
import signal, socket, threading
from triosock import compat

entered = threading.Event()
reports = []

class Handler(compat.BaseRequestHandler):
    def handle(self):
        self.request.recv(1)
        entered.set()
        self.request.recv(1)

def drain_again(*_):
    reports.append(compat.drain(server, grace=0))

server = compat.ThreadingTCPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever).start()
client = socket.create_connection(server.server_address)
client.sendall(b"x")
entered.wait()
signal.signal(signal.SIGALRM, drain_again)
signal.setitimer(signal.ITIMER_REAL, 0.5)
reports.append(compat.drain(server, grace=600))
server.server_close()
print(reports[0] is reports[1], reports[0].cancelled)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_a_signal_handler_may_tighten_the_drain_that_its_own_thread_waits_for() -> None:
    assert python("-c", SECOND_SIGNAL, timeout=PATIENCE, check=True).stdout == "True 1\n"


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="needs signals")
def test_a_drain_in_a_signal_handler_before_the_other_has_begun_is_an_error(
    start: Any, lines: Any, monkeypatch: Any
) -> None:
    running = start("ThreadingTCPServer", lines)
    acquire, errors, here = trio_thread.acquire_host, [], threading.get_ident()

    def acquire_and_be_interrupted() -> Any:
        if threading.get_ident() != here:  # the loop, which has only begun
            return acquire()
        monkeypatch.setattr(trio_thread, "acquire_host", acquire)
        with pytest.raises(RuntimeError) as caught:  # as in a handler of a signal that comes here
            compat.drain(running.server)
        errors.append(str(caught.value))
        return acquire()

    monkeypatch.setattr(trio_thread, "acquire_host", acquire_and_be_interrupted)
    assert compat.drain(running.server).clean
    assert "has not begun" in errors[0]
    running.join()


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="needs signals")
def test_a_drain_that_was_not_passed_to_the_trio_thread_yet_has_not_begun(monkeypatch: Any) -> None:
    run = trio_thread.Host.run
    errors: list[str] = []
    reports: list[Any] = []

    def run_after_a_signal(host: Any, *args: Any) -> Any:
        monkeypatch.setattr(trio_thread.Host, "run", run)
        with pytest.raises(RuntimeError) as caught:  # as in a handler of a signal that comes here
            compat.drain(server)
        errors.append(str(caught.value))
        return run(host, *args)

    monkeypatch.setattr(trio_thread.Host, "run", run_after_a_signal)
    with compat.ThreadingTCPServer(("127.0.0.1", 0), print) as server:
        assert returns(lambda: reports.append(compat.drain(server)))
    assert "has not begun" in errors[0]
    assert reports[0].clean


def test_a_signal_handler_may_drain_while_its_own_thread_starts_a_request(
    lines: Any, no_leaks: None, monkeypatch: Any
) -> None:
    start, reports = trio_thread._start, []

    class Server(compat.TCPServer):
        trio_policy = compat.Policy(request_timeout=60)

    def start_and_be_interrupted() -> Any:
        monkeypatch.setattr(trio_thread, "_start", start)
        reports.append(compat.drain(server))  # as in a handler of a signal that comes here
        return start()

    monkeypatch.setattr(trio_thread, "_start", start_and_be_interrupted)
    with Server(("127.0.0.1", 0), lines) as server:
        with socket.create_connection(server.server_address) as client:
            client.sendall(b"one\n")
            client.shutdown(socket.SHUT_WR)
            assert returns(server.handle_request)
            assert client.recv(100) == b"ONE\n"
        assert reports[0].clean
        assert request_table_of(server).host is None


def test_a_drain_ends_with_the_last_request_though_an_interrupted_one_ends_after_its_begin(
    start: Any, gate: Any, monkeypatch: Any
) -> None:
    queue, soon = vars(calls)["SimpleQueue"], trio_thread.Host.soon
    cancels: list[Any] = []
    reports: list[Any] = []

    def hold_cancels(host: Any, function: Any, *args: Any) -> None:
        if getattr(function, "__func__", None) is trio.CancelScope.cancel:
            cancels.append(function)
        else:
            soon(host, function, *args)

    class InterruptedQueue:
        def get(self) -> None:
            """Raise as a handler of Ctrl-C does in the wait for the report."""
            assert eventually(lambda: request_table.on_leave is not None)
            monkeypatch.setattr(calls, "SimpleQueue", queue)
            monkeypatch.setattr(trio_thread.Host, "soon", hold_cancels)
            raise KeyboardInterrupt

        def put(self, result: object) -> None:
            """Drop the result, as nobody waits for it."""

    policy = compat.Policy(request_timeout=600)
    running = start("ThreadingTCPServer", lambda *args: gate.pass_through(), trio_policy=policy)
    with running.dial():
        assert gate.entered.wait(PATIENCE)
        request_table = request_table_of(running.server)
        monkeypatch.setattr(calls, "SimpleQueue", InterruptedQueue)
        with pytest.raises(KeyboardInterrupt):
            compat.drain(running.server, grace=600)
        monkeypatch.setattr(trio_thread.Host, "soon", soon)
        interrupted = request_table.on_leave
        with in_a_thread(lambda: reports.append(compat.drain(running.server, grace=600))):
            assert eventually(lambda: request_table.on_leave not in (None, interrupted))
            host: Any = request_table.host
            for cancel in cancels:
                host.soon(cancel)
            host.run(trio.CancelScope(), trio.testing.wait_all_tasks_blocked)
            gate.opened.set()
    assert reports[0].finished == 1


def test_a_drain_in_a_signal_handler_that_interrupts_a_count_is_an_error() -> None:
    errors: list[str] = []

    class InterruptedCount:
        def __next__(self) -> int:
            """Drain, as in a handler of a signal that comes while `statistics()` reads the count."""
            request_table.leaves = leaves
            with pytest.raises(RuntimeError) as caught:
                compat.drain(server, grace=0)
            errors.append(str(caught.value))
            return next(leaves)

    with compat.ThreadingTCPServer(("127.0.0.1", 0), print) as server:
        request_table = request_table_of(server)
        leaves, request_table.leaves = request_table.leaves, InterruptedCount()  # type: ignore[assignment]
        assert returns(lambda: compat.statistics(server))
        assert "another thread" in errors[0]
        assert compat.drain(server).clean
