"""Features of native servers, for green ones: fairness, limits, PROXY, TLS, drains, events, statistics."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from typing import Any

import pytest

from tests.compat.conftest import read_all
from tests.waiting import eventually
from triosock import Cause, ProxyPolicy, compat, events
from triosock.compat.bridge.trio_thread import THREAD_NAME
from triosock.compat.loading import late_green as green
from triosock.observe import snapshot


class Echo(compat.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


# Fairness


def test_whose_data_is_always_ready_lets_others_have_their_turn(start: Any) -> None:
    turns: list[str] = []

    def handle(request: Any, *args: Any) -> None:
        name = request.recv(1).decode()
        turns.append(name)
        while request.recv(1):
            turns.append(name)

    running = start("GreenTCPServer", handle)
    with running.dial(b"g" + 5000 * b"x") as greedy, running.dial(b"p" + 5000 * b"x") as polite:
        greedy.shutdown(socket.SHUT_WR)
        polite.shutdown(socket.SHUT_WR)
        assert eventually(lambda: len(turns) == 10_002)
    both = turns[turns.index("p") : len(turns) - turns[::-1].index("g")] if "p" in turns else []
    longest = max(len(run) for run in "".join(both).replace("gp", "g p").replace("pg", "p g").split())
    # From the first turn of the second on they alternate; trio takes those of one pass in any order.
    assert longest <= 2 * green("waiting").IN_A_ROW


# Limits


def test_one_request_too_many_waits(start: Any) -> None:
    release = threading.Event()
    handled: list[int] = []

    def handle(*args: Any) -> None:
        handled.append(1)
        compat.blocking(release.wait, 20)

    running = start("GreenTCPServer", handle, trio_policy=compat.Policy(max_requests=2))
    clients = [running.dial() for _ in range(4)]
    assert eventually(lambda: len(handled) == 2)
    assert compat.statistics(running.server).active == 2
    release.set()
    for client in clients:
        assert read_all(client) == b""
    assert eventually(lambda: compat.statistics(running.server).accepted == 4)
    assert compat.statistics(running.server).peak == 2


# PROXY

HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n"


def tell_address(request: Any, address: Any, server: Any) -> None:
    request.sendall(repr(address).encode() + b" " + request.recv(100))


def test_the_client_is_the_one_in_the_proxy_header(start: Any) -> None:
    running = start("GreenTCPServer", tell_address, trio_policy=compat.Policy(proxy=True))
    assert read_all(running.dial(HEADER + b"hello")) == b"('192.0.2.7', 4711) hello"
    with running.dial(HEADER[:20]) as slow:
        assert read_all(running.dial(HEADER + b"others")) == b"('192.0.2.7', 4711) others"
        slow.sendall(HEADER[20:] + b"late")
        assert read_all(slow) == b"('192.0.2.7', 4711) late"


def test_who_sends_no_proxy_header_is_dropped_without_a_word(start: Any, capsys: Any) -> None:
    policy = compat.Policy(mode="green", proxy=True)
    running = start("ThreadingTCPServer", tell_address, trio_policy=policy)
    assert read_all_or_reset(running.dial(b"GET / HTTP/1.0\r\n\r\n")) == b""
    refusing = compat.Policy(mode="green", proxy=ProxyPolicy(trusted=("192.0.2.0/24",)))
    other = start("ThreadingTCPServer", tell_address, trio_policy=refusing)
    assert read_all_or_reset(other.dial(HEADER)) == b""
    for one in (running, other):
        assert eventually(lambda one=one: compat.statistics(one.server).ended == {Cause.HANDSHAKE: 1})
    assert capsys.readouterr().err == ""


def read_all_or_reset(client: socket.socket) -> bytes:
    with client:
        try:
            return client.recv(100)
        except ConnectionResetError:
            return b""


def test_a_proxy_needs_a_green_server_of_streams() -> None:
    class Threads(compat.ThreadingTCPServer):
        trio_policy = compat.Policy(proxy=True)

    class Datagrams(compat.GreenUDPServer):
        trio_policy = compat.Policy(proxy=True)

    with pytest.raises(TypeError, match="needs a green server"):
        Threads(("127.0.0.1", 0), Echo)
    with pytest.raises(TypeError, match="is for streams"):
        Datagrams(("127.0.0.1", 0), Echo)
    with pytest.raises(TypeError, match="proxy must be True"):
        compat.Policy(proxy="yes")  # type: ignore[arg-type]


# TLS


@pytest.mark.parametrize("proxy", [False, True])
def test_tls_handshakes_and_data_of_many_at_once(start_tls: Any, contexts: Any, proxy: bool) -> None:
    policy = compat.Policy(mode="green", proxy=proxy)
    running = start_tls("ThreadingTCPServer", Echo, trio_policy=policy)
    large = os.urandom(300_000)
    with running.dial() as silent:
        clients = []
        for _ in range(8):
            plain = running.dial(HEADER if proxy else b"")
            clients.append(contexts[1].wrap_socket(plain, server_hostname="localhost"))
        for client in clients:
            client.sendall(large)
        for client in clients:
            got = b""
            while len(got) < len(large):
                got += client.recv(65536)
            assert got == large
            client.close()
        silent.close()


# Drains, deadlines and observers


def test_a_drain_lets_the_busy_finish_and_ends_the_idle(start: Any) -> None:
    release = threading.Event()

    class Handler(compat.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                if line == b"work\n":
                    compat.blocking(release.wait, 20)
                self.wfile.write(line)

    running = start("GreenTCPServer", Handler)
    idle, busy = running.dial(b"hello\n"), running.dial(b"work\n")
    assert idle.recv(100) == b"hello\n"
    assert eventually(lambda: compat.statistics(running.server).active == 2)
    with running.draining(grace=20) as reports:
        assert read_all(idle) == b""
        release.set()
        assert read_all(busy) == b"work\n"
    assert (reports[0].finished, reports[0].cancelled) == (2, 0)


@pytest.mark.parametrize("kind", ["GreenTCPServer", "GreenUnixStreamServer"])
def test_who_is_still_there_after_the_grace_is_cancelled_at_its_wait(start: Any, kind: str) -> None:
    ended: list[str] = []

    def handle(request: Any, *args: Any) -> None:
        request.recv(1)
        try:
            working.set()
            compat.sleep(1000)
        finally:
            ended.append("finally")

    working = threading.Event()
    running = start(kind, handle)
    with running.dial(b"x"):
        assert working.wait(20)
        report = compat.drain(running.server, grace=0)
        assert report.cancelled == 1
        assert ended == ["finally"]


def test_ten_thousand_could_be_drained_but_a_few_hundred_do_here(start: Any) -> None:
    running = start("GreenTCPServer", Echo, request_queue_size=400)
    clients = [running.dial(b"x") for _ in range(300)]
    assert [client.recv(1) for client in clients] == [b"x"] * 300
    report = compat.drain(running.server, grace=20)
    assert report.finished == 300
    assert [client.recv(1) for client in clients] == [b""] * 300
    for client in clients:
        client.close()


def test_observers_are_told_and_the_counts_are_those_of_any_server(start: Any, recorder: Any) -> None:
    def handle(request: Any, *args: Any) -> None:
        if request.recv(1) == b"f":
            raise ValueError("as told")

    policy = compat.Policy(observers=(recorder,))
    running = start("GreenTCPServer", handle, trio_policy=policy, handle_error=lambda *args: None)
    assert read_all(running.dial(b"x")) == b""
    assert read_all(running.dial(b"f")) == b""
    assert compat.drain(running.server, grace=20).drained
    for kind in (events.ConnectionOpened, events.ConnectionClosed):
        assert len(recorder.of(kind)) == 2, kind
    for kind in (events.HandlerFailed, events.DrainStarted, events.DrainFinished):
        assert len(recorder.of(kind)) == 1, kind
    assert compat.statistics(running.server).ended == {Cause.FINISHED: 1, Cause.FAILED: 1}


def test_the_tree_shows_where_a_handler_waits(start: Any) -> None:
    def wait_here(request: Any, *args: Any) -> None:
        request.recv(1)

    def connections() -> list[Any]:
        return [one for one in snapshot(running.server).walk() if one.kind == "connection"]

    running = start("GreenTCPServer", wait_here, trio_policy=compat.Policy(request_timeout=1000))
    with running.dial():
        assert eventually(lambda: compat.statistics(running.server).active == 1)
        waits = re.compile("wait_here|recv|sleep")
        assert eventually(lambda: any(waits.search(one.where) for one in connections()))
        (connection,) = connections()
        assert connection.due_to == "Policy.request_timeout"
        (thread,) = connection.children
        assert thread.name == THREAD_NAME
        stacks = [task.stack() for task in tuple(green("tasks")._by_task.values())]
        assert any("wait_here" in line for line in stacks[0])


def test_datagrams_are_answered_while_one_waits(start: Any) -> None:
    release = threading.Event()

    class Handler(compat.DatagramRequestHandler):
        def handle(self) -> None:
            if self.packet == b"wait":
                compat.blocking(release.wait, 20)
            self.wfile.write(self.packet)

    running = start("GreenUDPServer", Handler)
    with running.dial(b"wait") as slow, running.dial(b"quick") as quick:
        assert quick.recv(100) == b"quick"
        release.set()
        assert slow.recv(100) == b"wait"


def test_a_timeout_is_for_all_of_a_sendall_and_for_each_recv(start: Any) -> None:
    seen: list[BaseException | float] = []

    def handle(request: Any, *args: Any) -> None:
        request.settimeout(0.2)
        began = time.monotonic()
        try:
            request.sendall(bytes(50_000_000))
        except OSError as error:
            seen.extend([error, time.monotonic() - began])

    running = start("GreenTCPServer", handle)
    with running.dial():
        assert eventually(lambda: len(seen) == 2)
    assert type(seen[0]) is TimeoutError
    assert seen[1] >= 0.2  # type: ignore[operator]
