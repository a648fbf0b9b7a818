"""drain(): how each request ends, and the report."""

from __future__ import annotations

import http.server
import signal
import socket
import sys
import threading
from typing import Any

import pytest
import trio

import triosock
from tests.compat.conftest import read_all
from tests.waiting import eventually, returns
from triosock import Cause, compat
from triosock.compat.requests.table import request_table_of
from triosock.compat.waiting import poll


def function_of(thread: int) -> str:
    """Return which function a thread is in."""
    return sys._current_frames()[thread].f_code.co_name


THREADED = ["ThreadingTCPServer", "ThreadingUnixStreamServer"]


def test_an_idle_keep_alive_connection_ends_at_once(start: Any, lines: Any, raw: Any) -> None:
    for handler in (lines, raw):
        running = start("ThreadingTCPServer", handler)
        client = running.dial(b"one\n")
        assert client.recv(100) == b"ONE\n"
        report = compat.drain(running.server, grace=60)
        assert report.clean
        assert report.finished == 1
        assert report.duration < 30
        assert read_all(client) == b""
        running.join()


def test_one_that_has_said_nothing_yet_is_idle(start: Any, lines: Any) -> None:
    running = start("ThreadingTCPServer", lines)
    client = running.dial()
    assert eventually(lambda: compat.statistics(running.server).active == 1)
    assert compat.drain(running.server, grace=60).clean
    assert read_all(client) == b""


@pytest.mark.parametrize("kind", THREADED)
def test_the_timeout_of_a_socket_delays_nobody_who_looks_at_it(start: Any, kind: str) -> None:
    class Handler(compat.StreamRequestHandler):
        timeout = 20

        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(line.upper())

    running = start(kind, Handler)
    clients = [running.dial(b"one\n") for _ in range(3)]
    assert [client.recv(100) for client in clients] == [b"ONE\n"] * 3
    assert eventually(lambda: compat.statistics(running.server).idle == 3)
    report = compat.drain(running.server, grace=60)
    # A handler whose time is over while somebody looks fails with TimeoutError.
    assert (report.finished, report.failed) == (3, 0)
    assert [read_all(client) for client in clients] == [b""] * 3


@pytest.mark.parametrize("kind", [*THREADED, "TCPServer"])
def test_a_busy_request_finishes_and_is_not_asked_for_another(start: Any, gate: Any, kind: str) -> None:
    class Handler(compat.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                gate.pass_through()
                self.wfile.write(line.upper())

    running = start(kind, Handler)
    client = running.dial(b"one\n")
    assert gate.entered.wait(20)
    with running.draining(grace=60) as reports:
        gate.opened.set()
        # It answers what it had read, and when it comes back for more that is the end of the stream.
        assert read_all(client) == b"ONE\n"
    assert reports[0].clean


@pytest.mark.parametrize("kind", THREADED)
def test_at_the_deadline_a_handler_in_the_middle_of_a_request_gets_the_cause(
    start: Any, kind: str, capsys: Any
) -> None:
    seen: list[Any] = []
    handling: list[int] = []

    class Handler(compat.StreamRequestHandler):
        def handle(self) -> None:
            handling.append(threading.get_ident())
            try:
                seen.append(self.rfile.readline())
                seen.append(self.rfile.read(10))
            except BaseException as error:
                seen.append(error)
                raise

    running = start(kind, Handler)
    client = running.dial(b"size 10\nhalf")
    assert eventually(lambda: seen and function_of(handling[0]) == "readinto")
    report = compat.drain(running.server, grace=0.05)
    assert report.cancelled == 1
    assert report.causes == {Cause.DRAIN: 1}
    assert "in readinto" in report.slowest[0].stack[-1]
    assert read_all(client) == b""
    # An exception that says why; never an end of the stream that looks like the client's.
    assert isinstance(seen[1], compat.RequestCut)
    assert "drain deadline" in str(seen[1])
    assert "RequestCut" in capsys.readouterr().err


def test_a_handler_that_sends_to_nobody_is_cut_too(start: Any) -> None:
    begun = threading.Event()

    def send(request: Any, *args: Any) -> None:
        request.sendall(b"x")
        begun.set()
        while True:
            request.sendall(b"x" * 1_000_000)

    running = start("ThreadingTCPServer", send)
    with running.dial(b"go"):
        assert begun.wait(20)
        assert compat.drain(running.server, grace=0.05).cancelled == 1
        running.server.server_close()  # returns: its thread has ended


def test_a_handler_stuck_outside_its_socket_is_named_with_its_stack_and_left(start: Any, gate: Any) -> None:
    handling: list[int] = []

    def handle(request: Any, *args: Any) -> None:
        request.recv(10)
        gate.entered.set()
        handling.append(threading.get_ident())
        gate.opened.wait(20)  # in C, where no exception reaches it

    running = start("ThreadingTCPServer", handle)
    with running.dial(b"x"):
        assert eventually(lambda: handling and function_of(handling[0]) == "wait")
        report = compat.drain(running.server, grace=0.05)
        assert report.cancelled == 1
        assert any("in handle" in line for line in report.slowest[0].stack)
        assert "in wait" in str(report)
        gate.opened.set()
        running.server.server_close()
    # Counted once, though it left later.
    assert sum(compat.statistics(running.server).ended.values()) == 1


def test_a_loop_that_a_stuck_handler_blocked_leaves_the_queue(start: Any, gate: Any) -> None:
    def handle(request: Any, *args: Any) -> None:
        gate.entered.set()
        gate.opened.wait(20)
        request.recv(10)

    running = start("TCPServer", handle)
    with running.dial(b"x"):
        assert gate.entered.wait(20)
        with running.dial():  # says nothing, and nobody would cut it
            assert compat.drain(running.server, grace=0).cancelled == 1
            gate.opened.set()
            running.join()


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_who_is_in_the_kernels_queue_is_served_and_who_comes_later_refused(
    start: Any, kind: str, gate: Any
) -> None:
    class Handler(compat.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline().upper())

    def verify_request(*args: Any) -> bool:
        """Hold the loop in a hook while clients gather in the queue."""
        if not gate.entered.is_set():
            gate.pass_through()
        return True

    running = start(kind, Handler, verify_request=verify_request)
    address = running.server.server_address
    first = running.dial(b"first\n")
    assert gate.entered.wait(20)
    queued = [running.dial(b"%d\n" % number) for number in range(3)]
    with running.draining(grace=60) as reports:
        gate.opened.set()
        assert read_all(first) == b"FIRST\n"
        assert [read_all(client) for client in queued] == [b"0\n", b"1\n", b"2\n"]
    assert reports[0].clean
    running.join()
    assert running.error is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_a_listener_with_a_longer_queue_than_the_class_says(start: Any, gate: Any) -> None:
    class Handler(compat.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline()
            if line == b"first\n":
                gate.pass_through()
            self.wfile.write(line.upper())

    def server_activate(server: Any) -> None:
        server.socket.listen(64)

    running = start("TCPServer", Handler, server_activate=server_activate)
    first = running.dial(b"first\n")
    assert gate.entered.wait(20)
    queued = [running.dial(b"%d\n" % number) for number in range(30)]
    with running.draining(grace=60) as reports:
        gate.opened.set()
        assert read_all(first) == b"FIRST\n"
        assert [read_all(client) for client in queued] == [b"%d\n" % number for number in range(30)]
    assert reports[0].clean


def test_a_second_drain_tightens_the_first_and_gets_its_report(start: Any, lines: Any, capsys: Any) -> None:
    running = start("ThreadingTCPServer", lines)
    with running.dial(b"half"):
        assert eventually(lambda: compat.statistics(running.server).active == 1)
        with running.draining(grace=1000) as reports:
            reports.append(compat.drain(running.server, grace=0.05))
    assert reports[0] is reports[1]
    assert reports[0].cancelled == 1


def test_a_handler_may_drain_its_own_server(start: Any) -> None:
    def drain(request: Any, address: Any, server: Any) -> None:
        request.sendall(str(compat.drain(server, grace=60).clean).encode())

    assert read_all(start("ThreadingTCPServer", drain).dial()) == b"True"


def test_a_handler_that_has_drained_its_server_gets_no_further_request(start: Any, lines: Any) -> None:
    class Handler(lines):  # type: ignore[misc]
        def setup(self) -> None:
            super().setup()
            self.wfile.write(self.rfile.readline().upper())
            assert self.rfile.readline() == b"drain\n"
            self.wfile.write(str(compat.drain(self.server, grace=60).clean).encode())

    running = start("ThreadingTCPServer", Handler)
    client = running.dial(b"one\n")
    assert client.recv(100) == b"ONE\n"
    client.sendall(b"drain\n")
    assert read_all(client) == b"True"


def test_the_thread_that_serves_may_not(start: Any) -> None:
    def drain(request: Any, address: Any, server: Any) -> None:
        with pytest.raises(RuntimeError, match="call it from another thread"):
            compat.drain(server)
        request.sendall(b"told")

    assert read_all(start("TCPServer", drain).dial()) == b"told"


def test_without_a_loop_it_closes_the_listener() -> None:
    with compat.TCPServer(("127.0.0.1", 0), print) as server:
        report = compat.drain(server)
        assert report.clean
        assert server.fileno() == -1
        assert report.duration < 10


def test_after_a_drain_that_could_not_begin_there_can_be_another() -> None:
    class Server(compat.TCPServer):
        trio_policy = compat.Policy(request_timeout=60)

    with Server(("127.0.0.1", 0), compat.BaseRequestHandler) as server:

        async def drain() -> None:
            with pytest.raises(RuntimeError, match="blocking function"):
                compat.drain(server)

        trio.run(drain)
        reports: list[Any] = []
        assert returns(lambda: reports.append(compat.drain(server)))
        assert reports[0].clean


def test_bad_graces() -> None:
    with compat.TCPServer(("127.0.0.1", 0), print) as server:
        for grace in (-1, float("nan")):
            with pytest.raises(ValueError, match="grace"):
                compat.drain(server, grace=grace)
        with pytest.raises(TypeError, match="grace"):
            compat.drain(server, grace="soon")  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [compat.drain, compat.statistics, compat.serve])
def test_what_is_no_server_of_compat_is_told(function: Any) -> None:
    """One of the standard library's would be served, and a drain would never end it."""

    def use(server: Any) -> None:
        if function is compat.serve:
            trio.run(function, server)
        else:
            function(server)

    takes = rf"{function.__name__}\(\) takes a server of triosock.compat, not"
    with pytest.raises(TypeError, match=takes + " 3$"):
        use(3)
    with (
        http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server,
        pytest.raises(TypeError, match=takes + ".*HTTPServer.*is one of the standard library.*install"),
    ):
        use(server)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_children_are_waited_for_and_terminated_at_the_deadline(start: Any) -> None:
    def handle(request: Any, *args: Any) -> None:
        if request.recv(10) == b"stay":
            signal.pause()
        request.sendall(b"done")

    def process_request(self: Any, request: Any, client_address: Any) -> None:
        compat.ForkingTCPServer.process_request(self, request, client_address)
        forked.append(client_address)

    forked: list[Any] = []
    running = start("ForkingTCPServer", handle, process_request=process_request)
    with running.dial(b"stay"), running.dial(b"go") as quick:
        assert quick.recv(10) == b"done"
        assert eventually(lambda: len(forked) == 2 and len(running.server.active_children) == 1)
        report = compat.drain(running.server, grace=0.05)
    assert report.cancelled == 1
    assert "child process" in str(report.slowest[0].peer)
    running.server.server_close()
    assert not running.server.active_children


@pytest.mark.parametrize("idle", [True, False])
def test_behind_tls(start_tls: Any, contexts: Any, lines: Any, idle: bool, capsys: Any) -> None:
    running = start_tls("ThreadingTCPServer", lines)
    with running.dial() as plain, contexts[1].wrap_socket(plain, server_hostname="localhost") as client:
        client.sendall(b"one\n")
        assert client.recv(100) == b"ONE\n"
        if not idle:
            # Told apart by the kernel's clock, which ticks every few milliseconds.
            threading.Event().wait(0.05)
            client.sendall(b"ha")
            threading.Event().wait(0.05)
        report = compat.drain(running.server, grace=60 if idle else 0.05)
        assert (report.finished, report.cancelled) == ((1, 0) if idle else (0, 1))


def test_a_report_is_the_cores_own() -> None:
    with compat.TCPServer(("127.0.0.1", 0), print) as server:
        assert isinstance(compat.drain(server), triosock.DrainReport)


def test_an_interrupted_end_of_a_loop_gives_its_deadlines_back(
    start: Any, lines: Any, monkeypatch: Any
) -> None:
    running = start("ThreadingTCPServer", lines, trio_policy=compat.Policy(request_timeout=60))
    assert eventually(lambda: poll.servings_of(running.server))
    (serving,) = poll.servings_of(running.server)
    close = serving.close

    def close_and_be_interrupted() -> None:
        close()
        raise KeyboardInterrupt

    monkeypatch.setattr(serving, "close", close_and_be_interrupted)
    running.server.shutdown()
    running.join()
    assert isinstance(running.error, KeyboardInterrupt)
    assert request_table_of(running.server).host is None
