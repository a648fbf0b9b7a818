"""Policy, statistics() and run()."""

from __future__ import annotations

import errno
import math
import socket
import threading
from typing import Any

import pytest
import trio

import triosock
from tests.compat.conftest import read_all
from tests.waiting import in_a_thread
from triosock import Cause, compat, events
from triosock.compat.waiting import wakeup


def test_a_request_beyond_its_time_is_cut_with_the_cause(start: Any, raw: Any, capsys: Any) -> None:
    running = start("ThreadingTCPServer", raw, trio_policy=compat.Policy(request_timeout=0.1))
    assert read_all(running.dial()) == b""
    running.end()
    assert compat.statistics(running.server).ended == {Cause.REQUEST: 1}
    assert "its time is over (request, Policy.request_timeout)" in capsys.readouterr().err


def test_without_threads_too(start: Any, raw: Any) -> None:
    running = start("TCPServer", raw, trio_policy=compat.Policy(request_timeout=0.1))
    for _ in range(2):
        assert read_all(running.dial()) == b""
    running.end()
    assert compat.statistics(running.server).ended == {Cause.REQUEST: 2}


def test_handle_request_minds_the_policy_and_leaves_no_thread(raw: Any, capsys: Any) -> None:
    class Server(compat.TCPServer):
        trio_policy = compat.Policy(request_timeout=0.1)

    before = set(threading.enumerate())
    with Server(("127.0.0.1", 0), raw) as server:
        client = socket.create_connection(server.server_address, 20)
        server.handle_request()
        assert read_all(client) == b""
    assert not set(threading.enumerate()) - before


def test_one_request_too_many_waits_for_its_turn(start: Any, gate: Any) -> None:
    served = []

    class Handler(compat.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline()
            served.append(line)
            if line == b"one\n":
                gate.pass_through()
            self.wfile.write(line)

    running = start("ThreadingTCPServer", Handler, trio_policy=compat.Policy(max_requests=1))
    first = running.dial(b"one\n")
    assert gate.entered.wait(20)
    second = running.dial(b"two\n")
    assert compat.statistics(running.server).active == 1
    assert served == [b"one\n"]
    gate.opened.set()
    assert read_all(first) == b"one\n"
    assert read_all(second) == b"two\n"
    assert compat.statistics(running.server).peak == 1


@pytest.mark.parametrize(
    ("kind", "has_wakeup"),
    [("ThreadingTCPServer", True), ("ThreadingTCPServer", False), ("GreenTCPServer", True)],
)
def test_handle_request_takes_none_too_many(
    kind: str, has_wakeup: bool, lines: Any, monkeypatch: Any
) -> None:
    def no_descriptor(*args: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    class Server(getattr(compat, kind)):  # type: ignore[misc]
        trio_policy = compat.Policy(max_requests=1)
        timeout = 0.0

        def handle_timeout(self) -> str:
            return "late"

    with Server(("127.0.0.1", 0), lines) as server:
        clients = [socket.create_connection(server.server_address, 20) for _ in range(2)]
        for client in clients:
            client.sendall(b"one\n")
        assert server.handle_request() is None
        assert clients[0].recv(100) == b"ONE\n"
        assert server.handle_request() == "late"
        server.timeout = 0.05
        assert server.handle_request() == "late"
        server.timeout = None
        if not has_wakeup:
            monkeypatch.setattr(wakeup, "_eventfd", no_descriptor)
        with in_a_thread(server.handle_request):
            clients[0].close()
            assert clients[1].recv(100) == b"ONE\n"
        clients[1].close()
    assert compat.statistics(server).peak == 1


@pytest.mark.parametrize("observers", [3, "observers"])
def test_observers_that_are_not_several_are_named(observers):
    with pytest.raises(TypeError, match=r"^observers must be several observers in a list, not"):
        compat.Policy(observers=observers)


@pytest.mark.parametrize("where", ["class", "server"])
def test_requests_that_the_program_ends_itself_take_no_place(start: Any, lines: Any, where: str) -> None:
    def process_request_thread(request: Any, client_address: Any) -> None:
        server.finish_request(request, client_address)
        server.shutdown_request(request)

    own = {"process_request_thread": staticmethod(process_request_thread)} if where == "class" else {}
    running = start("ThreadingTCPServer", lines, trio_policy=compat.Policy(max_requests=1), **own)
    server = running.server
    if where == "server":
        server.process_request_thread = process_request_thread
    for _ in range(3):
        client = running.dial(b"one\n")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"ONE\n"
    report = compat.drain(server, grace=60)
    assert report.duration < 60
    assert report.cancelled == 0


def test_the_grace_of_the_policy(start: Any, raw: Any, capsys: Any) -> None:
    running = start("ThreadingUnixStreamServer", raw, trio_policy=compat.Policy(grace=0))
    with running.dial(b"one") as client:
        assert client.recv(10) == b"ONE"
        assert compat.drain(running.server).cancelled == 1


def test_observers_are_told_in_the_trio_thread(start: Any, lines: Any, recorder: Any) -> None:
    class Handler(lines):  # type: ignore[misc]
        def finish(self) -> None:
            super().finish()
            if self.client_address[1] == failing:
                raise ValueError("on purpose")

    failing = -1
    running = start("ThreadingTCPServer", Handler, trio_policy=compat.Policy(observers=[recorder]))
    client = running.dial(b"one\n")
    failing = client.getsockname()[1]
    assert client.recv(10) == b"ONE\n"
    client.shutdown(1)
    assert read_all(client) == b""
    compat.drain(running.server)
    running.join()
    (opened,), (closed,) = recorder.of(events.ConnectionOpened), recorder.of(events.ConnectionClosed)
    assert recorder.events.index(opened) < recorder.events.index(closed)
    assert isinstance(opened.peer, triosock.TcpAddress)
    assert str(opened.local) == f"tcp://127.0.0.1:{running.server.server_address[1]}"
    assert (closed.received, closed.sent, closed.cause) == (4, 4, Cause.FAILED)
    assert closed.connection == opened.connection == 1
    assert 0 <= closed.duration < 20
    assert isinstance(recorder.of(events.HandlerFailed)[0].error, ValueError)
    drain = (events.DrainStarted, events.DrainFinished)
    assert [type(event) for event in recorder.events if isinstance(event, drain)] == [*drain]


def test_an_accept_error_is_an_event(start: Any, lines: Any, recorder: Any) -> None:
    failures = [ConnectionAbortedError("gone"), OSError(24, "too many")]

    def get_request(self: Any) -> Any:
        if failures:
            raise failures.pop()
        return compat.TCPServer.get_request(self)

    policy = compat.Policy(observers=[recorder])
    running = start("ThreadingTCPServer", lines, trio_policy=policy, get_request=get_request)
    client = running.dial(b"one\n")
    assert client.recv(10) == b"ONE\n"
    client.close()
    # Waits for the handler's thread: its end is the last that is told, and comes after all else.
    running.end()
    assert [event.action for event in recorder.of(events.AcceptFailed)] == ["back off", "go on"]
    assert compat.statistics(running.server).accept_errors == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"request_timeout": 0}, ValueError),
        ({"request_timeout": "1"}, TypeError),
        ({"max_requests": 0}, ValueError),
        ({"max_requests": 1.5}, TypeError),
        ({"grace": -1}, ValueError),
    ],
)
def test_wrong_policies_are_told_which_option_is_wrong(options: Any, error: Any) -> None:
    with pytest.raises(error, match=next(iter(options))):
        compat.Policy(**options)


def test_a_policy_without_options_changes_nothing() -> None:
    policy = compat.Policy()
    assert (policy.request_timeout, policy.max_requests, policy.grace) == (math.inf, math.inf, 15.0)
    assert not policy.needs_oversight


# statistics()


def test_statistics_of_a_plain_server(start: Any, lines: Any) -> None:
    running = start("ThreadingTCPServer", lines)
    client = running.dial(b"one\n")
    assert client.recv(10) == b"ONE\n"
    now = compat.statistics(running.server)
    assert isinstance(now, triosock.ServerStatistics)
    assert (now.active, now.idle, now.accepted, now.peak, now.draining) == (1, 1, 1, 1, False)
    client.shutdown(1)
    assert read_all(client) == b""
    compat.drain(running.server)
    assert compat.statistics(running.server).ended == {Cause.FINISHED: 1}


# run()


async def double(number: int) -> int:
    await trio.sleep(0)
    return 2 * number


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_async_code_from_a_sync_handler(start: Any, kind: str) -> None:
    def handle(request: Any, *args: Any) -> None:
        request.sendall(b"%d" % compat.run(double, 21))

    assert read_all(start(kind, handle).dial()) == b"42"


def test_its_exceptions_come_back_and_the_host_survives_them(start: Any) -> None:
    async def fail(error: BaseException) -> None:
        raise error

    def handle(request: Any, *args: Any) -> None:
        for error in (ValueError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
            with pytest.raises(type(error)):
                compat.run(fail, error)
        request.sendall(b"%d" % compat.run(double, 1))

    running = start("ThreadingTCPServer", handle)
    assert read_all(running.dial()) == b"2"
    assert read_all(running.dial()) == b"2"


def test_it_is_cancelled_with_its_request(start: Any) -> None:
    ended: list[Any] = []
    waits = threading.Event()

    async def wait() -> None:
        waits.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

    def handle(*args: Any) -> None:
        try:
            compat.run(wait)
        except compat.RequestCut as error:
            ended.append(str(error))

    running = start("ThreadingTCPServer", handle)
    client = running.dial()
    assert waits.wait(20)
    compat.drain(running.server, grace=0)
    assert read_all(client) == b""
    running.end()
    assert ended[0] == "cancelled"
    assert "drain" in ended[1]


def test_outside_of_a_request_it_runs_without_a_deadline() -> None:
    before = set(threading.enumerate())
    assert compat.run(double, 4) == 8
    assert not set(threading.enumerate()) - before


async def test_not_in_a_trio_thread() -> None:
    with pytest.raises(RuntimeError, match="call it from a thread"):
        compat.run(double, 4)


def test_what_is_no_policy_is_told() -> None:
    class Server(compat.ThreadingTCPServer):
        trio_policy: Any = ("grace", 5)

    with pytest.raises(TypeError, match=r"trio_policy of Server must be a triosock.compat.Policy"):
        Server(("127.0.0.1", 0), compat.BaseRequestHandler)
    with pytest.raises(ValueError, match="mode must be 'own' or 'green', not 'greens'"):
        compat.Policy(mode="greens")  # type: ignore[arg-type]
