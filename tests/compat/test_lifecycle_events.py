"""The lifecycle events of a plain compat server: the last one is ServerClosed."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

import triosock
from tests.compat.conftest import LISTENER_FAILS_TO_CLOSE, read_all
from tests.waiting import eventually, in_a_thread
from triosock import compat
from triosock._core.model.events import (
    ConnectionClosed,
    ConnectionOpened,
    DrainFinished,
    DrainStarted,
    ListenerClosed,
    ServerClosed,
    ServerResumed,
    ServerStarted,
    ServerSuspended,
)
from triosock.compat.bridge import lifecycle_events
from triosock.compat.waiting import poll


@pytest.fixture
def policy(recorder: Any) -> compat.Policy:
    return compat.Policy(observers=[recorder])


@pytest.fixture
def server(policy: compat.Policy, lines: Any) -> Iterator[compat.TCPServer]:
    """One whose loop ends with its first turn."""

    class Server(compat.TCPServer):
        trio_policy = policy

        def service_actions(self) -> None:
            threading.Thread(target=self.shutdown).start()

    with Server(("127.0.0.1", 0), lines) as server:
        yield server


def kinds(recorder: Any) -> list[type]:
    return [type(event) for event in recorder.events]


ONE = [ConnectionOpened, ConnectionClosed]


def test_the_events_of_a_server_from_its_start_to_its_close(
    start: Any, lines: Any, recorder: Any, policy: Any
) -> None:
    running = start("ThreadingTCPServer", lines, trio_policy=policy)
    with running.dial(b"one\n") as client:
        assert client.recv(10) == b"ONE\n"
        client.shutdown(1)
        assert read_all(client) == b""
    running.end()
    assert kinds(recorder)[:2] == [ServerStarted, ConnectionOpened]
    # The thread of the request may end before or after the loop.
    assert sorted(kinds(recorder)[2:4], key=str) == sorted([ConnectionClosed, ServerSuspended], key=str)
    assert kinds(recorder)[4:] == [ListenerClosed, ServerClosed]
    where = (triosock.TcpAddress(*running.server.server_address),)
    assert recorder.of(ServerStarted)[0].addresses == where
    assert recorder.of(ServerStarted)[0].lifetime is None
    assert recorder.of(ListenerClosed)[0].address == where[0]
    running.server.server_close()
    assert len(recorder.of(ServerClosed)) == 1


def test_served_again_it_resumes(server: Any, recorder: Any) -> None:
    for _ in range(2):
        server.serve_forever(0.01)
    server.server_close()
    assert kinds(recorder) == [
        ServerStarted,
        ServerSuspended,
        ServerResumed,
        ServerSuspended,
        ListenerClosed,
        ServerClosed,
    ]


def test_a_second_loop_is_the_same_server(start: Any, lines: Any, recorder: Any, policy: Any) -> None:
    running = start("ThreadingTCPServer", lines, trio_policy=policy)
    with running.dial(b"x\n") as client:
        client.recv(10)
    with in_a_thread(running.server.serve_forever):
        assert eventually(lambda: len(poll.servings_of(running.server)) == 2)
        for _ in range(2):
            running.server.shutdown()
        running.join()
    running.server.server_close()
    assert len(recorder.of(ServerStarted)) == len(recorder.of(ServerSuspended)) == 1
    assert kinds(recorder)[-1] is ServerClosed


@pytest.mark.parametrize("stock", [True, False])
def test_the_end_is_told_after_the_last_request_which_nobody_waits_for(
    start: Any, gate: Any, recorder: Any, policy: Any, stock: bool
) -> None:
    def process_request_thread(self: Any, request: Any, client_address: Any) -> None:
        compat.ThreadingMixIn.process_request_thread(self, request, client_address)

    own = {} if stock else {"process_request_thread": process_request_thread}
    attributes = {"trio_policy": policy, "block_on_close": False, **own}
    running = start("ThreadingTCPServer", lambda *args: gate.pass_through(), **attributes)
    before = set(threading.enumerate())
    with running.dial():
        assert gate.entered.wait(20)
        (handling,) = [one for one in set(threading.enumerate()) - before if "process_request" in one.name]
        running.end()
        gate.opened.set()
        handling.join(20)
    assert kinds(recorder) == [
        ServerStarted,
        ConnectionOpened,
        ServerSuspended,
        ListenerClosed,
        ConnectionClosed,
        ServerClosed,
    ]


def test_a_drain_closes_it(start: Any, lines: Any, recorder: Any, policy: Any) -> None:
    running = start("ThreadingTCPServer", lines, trio_policy=policy)
    with running.dial(b"x\n") as client:
        client.recv(10)
        compat.drain(running.server)
    running.join()
    told = [kind for kind in kinds(recorder) if kind not in ONE]
    assert told == [ServerStarted, DrainStarted, ListenerClosed, DrainFinished, ServerClosed]


@pytest.mark.parametrize("where", ["address_of_listener", "is_closed"])
def test_a_signal_handler_may_close_the_server_as_the_loop_begins_or_ends(
    server: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    original = getattr(lifecycle_events, where)

    def interrupted(server: Any) -> Any:
        answer = original(server)
        signal.raise_signal(signal.SIGUSR1)
        return answer

    monkeypatch.setattr(lifecycle_events, where, interrupted)
    before = signal.signal(signal.SIGUSR1, lambda signum, frame: server.server_close())
    try:
        with contextlib.suppress(ValueError):  # for a loop whose socket was closed as it began
            server.serve_forever(0.01)
    finally:
        signal.signal(signal.SIGUSR1, before)
    told = kinds(recorder)
    assert told[0] is ServerStarted
    assert told.count(ListenerClosed) == told.count(ServerClosed) == 1


def test_single_requests_have_no_events_of_a_start_and_an_end(server: Any, recorder: Any) -> None:
    for _ in range(2):
        with socket.create_connection(server.server_address) as client:
            client.shutdown(1)
            server.handle_request()
    server.server_close()
    assert kinds(recorder) == ONE * 2


async def test_closed_in_a_trio_thread_it_says_nothing_and_does_not_fail(
    start: Any, lines: Any, recorder: Any, policy: Any
) -> None:
    running = start("ThreadingTCPServer", lines, trio_policy=policy)
    await trio.to_thread.run_sync(running.server.shutdown)
    await trio.to_thread.run_sync(running.join)
    running.server.server_close()
    assert kinds(recorder) == [ServerStarted, ServerSuspended]


async def test_served_in_a_trio_program_it_is_told_once(lines: Any, recorder: Any, policy: Any) -> None:
    class Server(compat.ThreadingTCPServer):
        trio_policy = policy

    async with trio.open_nursery() as nursery:
        running: Any = await nursery.start(compat.serve, Server(("127.0.0.1", 0), lines))
        running.drain()
    assert kinds(recorder) == [ServerStarted, DrainStarted, DrainFinished, ServerClosed]


def test_a_listener_that_fails_to_close_in_a_drain_leaves_no_event_out(
    start: Any, policy: Any, recorder: Any
) -> None:
    running = start("ThreadingTCPServer", print, trio_policy=policy, **LISTENER_FAILS_TO_CLOSE)
    assert eventually(lambda: kinds(recorder) == [ServerStarted])
    compat.drain(running.server, grace=10)
    running.join()
    assert isinstance(running.error, ValueError)
    assert kinds(recorder) == [ServerStarted, DrainStarted, ListenerClosed, DrainFinished, ServerClosed]
