"""The wait of serve_forever(): its place, its end, and that it leaves nothing."""

from __future__ import annotations

import errno
import socket
import threading
import time
from typing import Any
from unittest.mock import Mock

import pytest
import trio

from tests.compat.conftest import LISTENER_FAILS_TO_CLOSE, host_threads
from tests.servers import serving_in_a_thread
from tests.waiting import eventually, in_a_thread, returns
from triosock import compat
from triosock.compat.bridge import trio_thread, trio_wait
from triosock.compat.waiting import forking, poll, wakeup


@pytest.mark.parametrize(
    "kind", ["TCPServer", "ThreadingTCPServer", "ThreadingUDPServer", "ThreadingUnixStreamServer"]
)
def test_an_idle_server_waits_in_the_trio_run_and_shutdown_is_at_once(
    start: Any, lines: Any, kind: str
) -> None:
    running = start(kind, lines)
    assert eventually(host_threads)
    began = time.monotonic()
    running.server.shutdown()
    # Its interval is ten seconds.
    assert time.monotonic() - began < 5
    assert not host_threads()
    running.join()


@pytest.mark.parametrize("kind", ["ForkingTCPServer", "ForkingUDPServer", "ForkingUnixStreamServer"])
def test_a_forking_server_waits_alone_and_shutdown_is_at_once(start: Any, lines: Any, kind: str) -> None:
    if not hasattr(compat, kind):
        pytest.skip("not in this version's module")
    running = start(kind, lines)
    assert eventually(lambda: poll.servings_of(running.server))
    serving = poll.servings_of(running.server)[0]
    assert isinstance(serving, forking.ForkingWait)
    assert eventually(lambda: serving._wakeup is not None)
    assert not host_threads()
    began = time.monotonic()
    running.server.shutdown()
    assert time.monotonic() - began < 5


def test_of_two_loops_a_shutdown_wakes_one(start: Any, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[Any] = []
    wake = trio_wait.TrioWait.wake
    monkeypatch.setattr(trio_wait.TrioWait, "wake", lambda loop: (woken.append(loop), wake(loop)))
    running = start("ThreadingTCPServer", lines)
    with serving_in_a_thread(running.server):
        assert eventually(lambda: len(poll.servings_of(running.server)) == 2)
        loops = poll.servings_of(running.server)
        running.server.shutdown()
        assert woken == loops[:1]


def answer(request: Any, *args: Any) -> None:
    request.sendall(b"x")


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_child_is_reaped_when_it_ends_and_not_an_interval_later(start: Any) -> None:
    running = start("ForkingTCPServer", answer)
    with running.dial() as client:
        assert client.recv(10) == b"x"
    assert eventually(lambda: running.server.active_children == set())


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_children_that_nobody_reaps_make_no_busy_loop(start: Any) -> None:
    ticks = []
    running = start("ForkingTCPServer", answer, service_actions=lambda self: ticks.append(1))
    for _ in range(3):
        with running.dial() as client:
            assert client.recv(10) == b"x"
    # A turn for each request, and at most one for each end (two that end together share it); then the
    # interval.
    assert eventually(lambda: len(ticks) >= 4)
    running.server.shutdown()
    assert len(ticks) <= 7


def test_one_host_for_all_servers_and_it_ends_with_the_last(start: Any, lines: Any) -> None:
    first, second = start("ThreadingTCPServer", lines), start("TCPServer", lines)
    assert eventually(lambda: len(poll._servings) == 2 and all(one._host for one in poll._servings))  # type: ignore[attr-defined]
    assert len(host_threads()) == 1
    first.server.shutdown()
    assert len(host_threads()) == 1
    second.server.shutdown()
    assert not host_threads()


def test_a_listener_that_fails_to_close_in_a_drain_leaves_no_loop(start: Any, lines: Any) -> None:
    running = start("ThreadingTCPServer", lines, **LISTENER_FAILS_TO_CLOSE)
    assert eventually(host_threads)
    compat.drain(running.server, grace=10)
    running.join()
    assert isinstance(running.error, ValueError)
    assert not host_threads()
    assert not poll.servings_of(running.server)


def test_shutdown_in_the_thread_that_serves_says_what_to_do(start: Any) -> None:
    def handle(request: Any, address: Any, server: Any) -> None:
        with pytest.raises(RuntimeError, match=r"threading\.Thread\(target=server\.shutdown\)\.start\(\)"):
            server.shutdown()
        request.sendall(b"told")

    running = start("TCPServer", handle)
    with running.dial() as client:
        assert client.recv(10) == b"told"
    assert running.thread.is_alive()


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.EBADF])
def test_an_error_that_stays_is_asked_again_a_little_later(start: Any, kind: str, number: int) -> None:
    asked = []

    def get_request(self: Any) -> Any:
        asked.append(time.monotonic())
        raise OSError(number, "stays")

    running = start(kind, print, get_request=get_request)
    with running.dial():
        assert eventually(lambda: len(asked) >= 3)
    assert asked[2] - asked[0] >= 1.9 * poll.PAUSE
    running.server.shutdown()


def test_closed_while_it_waits_in_the_trio_run(start: Any, lines: Any) -> None:
    running = start("ThreadingTCPServer", lines)
    assert eventually(host_threads)
    running.server.server_close()
    running.server.shutdown()
    running.join()
    assert running.error is None


def test_when_no_thread_can_be_started_it_waits_alone(start: Any, lines: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(trio_thread, "_start", Mock(side_effect=RuntimeError("can't start new thread")))
    running = start("ThreadingTCPServer", lines)
    for _ in range(2):
        with running.dial(b"one\n") as client:
            assert client.recv(10) == b"ONE\n"
    running.server.shutdown()


@pytest.mark.parametrize("keeps", [False, True])
def test_a_signal_handler_may_need_the_host_while_its_own_thread_starts_it(
    monkeypatch: Any, keeps: bool
) -> None:
    start, kept = trio_thread._start, []

    def start_and_be_interrupted() -> Any:
        monkeypatch.setattr(trio_thread, "_start", start)
        host = start()
        kept.append(trio_thread.acquire_host())  # as in a handler that calls compat.run(), at this moment
        if not keeps:
            trio_thread.release_host(kept.pop())
        return host

    monkeypatch.setattr(trio_thread, "_start", start_and_be_interrupted)
    assert returns(lambda: kept.append(trio_thread.acquire_host()))
    assert len(host_threads()) == 1
    for host in kept:
        assert host.run(trio.CancelScope(), current_name) == trio_thread.THREAD_NAME
        trio_thread.release_host(host)
    assert not host_threads()


async def current_name() -> str:
    return threading.current_thread().name


def test_without_descriptors_for_the_alarm_it_still_serves(start: Any, lines: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(wakeup, "_eventfd", Mock(side_effect=OSError(errno.EMFILE, "no descriptors")))
    with compat.ForkingTCPServer(("127.0.0.1", 0), lines) as server, serving_in_a_thread(server, 0.02):
        pass  # shutdown() ends it


def test_a_pipe_serves_where_there_is_no_eventfd(lines: Any, monkeypatch: Any, no_leaks: None) -> None:
    monkeypatch.setattr(wakeup, "_eventfd", None)
    with compat.ForkingTCPServer(("127.0.0.1", 0), lines) as server, serving_in_a_thread(server, 10):
        pass  # shutdown() ends it


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
def test_a_hundred_servers_end_at_once_and_leave_nothing(lines: Any, no_leaks: None, kind: str) -> None:
    before = set(threading.enumerate())
    servers = [getattr(compat, kind)(("127.0.0.1", 0), lines) for _ in range(100)]
    serving = [threading.Thread(target=server.serve_forever, args=(60,), daemon=True) for server in servers]
    for thread in serving:
        thread.start()
    assert eventually(lambda: all(poll.servings_of(server) for server in servers))
    began = time.monotonic()
    for server in servers:
        server.shutdown()
        server.server_close()
    # A hundred intervals would be more than an hour and a half.
    assert time.monotonic() - began < 20
    for thread in serving:
        thread.join(20)
    assert not set(threading.enumerate()) - before


def test_nothing_is_left_of_many_servers(lines: Any, no_leaks: None) -> None:
    before = set(threading.enumerate())
    for number in range(60):
        kind = (compat.TCPServer, compat.ThreadingTCPServer, compat.ForkingTCPServer)[number % 3]
        with kind(("127.0.0.1", 0), lines) as server, serving_in_a_thread(server):
            if number % 2:
                eventually(lambda kind=kind: host_threads() or kind is compat.ForkingTCPServer)
    assert not set(threading.enumerate()) - before


async def test_in_a_trio_thread_it_waits_alone(lines: Any) -> None:
    with compat.ThreadingTCPServer(("127.0.0.1", 0), lines) as server:

        def use() -> None:
            with socket.create_connection(server.server_address, 20) as client:
                client.sendall(b"one\n")
                assert client.recv(10) == b"ONE\n"
            server.shutdown()

        with in_a_thread(use):
            server.serve_forever(10)
    assert not host_threads()


def test_the_host_survives_a_start_that_fails(monkeypatch: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trio, "run", Mock(side_effect=OSError(errno.EMFILE, "no descriptors")))
        with pytest.raises(RuntimeError, match="could not start"):
            trio_thread.acquire_host()
    borrowed = trio_thread.acquire_host()
    assert borrowed.run(trio.CancelScope(), trio.lowlevel.checkpoint) is None
    trio_thread.release_host(borrowed)
    assert not host_threads()
