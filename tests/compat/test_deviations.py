"""docs/reference/compat-deviations.md, row by row: each test is named after its row, and shows both sides
where it can.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import socketserver
import time
from pathlib import Path
from typing import Any

import pytest

from tests.compat.conftest import host_threads, read_all
from tests.servers import serving_in_a_thread
from tests.waiting import eventually
from triosock import compat
from triosock.compat import choose
from triosock.compat.waiting import poll

TABLE = Path(__file__).parents[2] / "docs" / "reference" / "compat-deviations.md"


def test_every_row_has_its_test_and_every_test_its_row() -> None:
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", TABLE.read_text(), re.MULTILINE)}
    tests = {int(found[1]) for name in globals() if (found := re.match(r"test_row_(\d+)_", name))}
    assert rows == tests == set(range(1, len(rows) + 1))


def test_row_1_shutdown_in_the_thread_that_serves(start: Any) -> None:
    def handle(request: Any, address: Any, server: Any) -> None:
        try:
            server.shutdown()
        except RuntimeError as error:
            request.sendall(str(error).encode())

    assert b"Call it from another thread" in read_all(start("TCPServer", handle).dial())


def test_row_2_shutdown_is_at_once(start: Any) -> None:
    running = start("ThreadingTCPServer", print)
    assert eventually(host_threads)
    began = time.monotonic()
    running.server.shutdown()
    # The interval is ten seconds: with the standard library this takes as long.
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("module", [socketserver, compat])
def test_row_3_no_busy_loop(module: Any) -> None:
    ticks = [0]

    class Server(module.ThreadingTCPServer):  # type: ignore[misc]
        def service_actions(self) -> None:
            ticks[0] += 1

    server = Server(("127.0.0.1", 0), print)
    with serving_in_a_thread(server):
        with socket.create_connection(server.server_address):
            assert eventually(lambda: ticks[0] > 0)
        server.server_close()
        before = ticks[0]
        if module is socketserver:
            assert eventually(lambda: ticks[0] - before > 100)
        else:
            assert eventually(lambda: ticks[0] - before > 1)
            time.sleep(0.3)
            assert ticks[0] - before <= 100


def test_row_4_one_thread_of_the_modules_own(start: Any) -> None:
    assert not host_threads()
    first, second = start("ThreadingTCPServer", print), start("TCPServer", print)
    forking = start("ForkingTCPServer", print)
    assert eventually(host_threads)
    assert [thread.daemon for thread in host_threads()] == [True]
    for running in (first, second, forking):
        running.server.shutdown()
    assert not host_threads()


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_row_5_a_tick_when_a_child_ends(start: Any) -> None:
    ticks: list[int] = []

    def service_actions(self: Any) -> None:
        compat.ForkingMixIn.service_actions(self)
        ticks.append(len(self.active_children or ()))

    running = start("ForkingTCPServer", lambda *args: None, service_actions=service_actions)
    with running.dial() as client:
        assert client.recv(1) == b""
    # Long before the interval of ten seconds.
    assert eventually(lambda: ticks[-1:] == [0])


@pytest.mark.parametrize("own", [False, True])
def test_row_6_the_handshake_is_the_threads_unless_the_program_looks(
    start_tls: Any, contexts: Any, own: bool
) -> None:
    seen: list[Any] = []

    def verify(self: Any, request: Any, address: Any) -> bool:
        seen.append(request.version())
        return True

    def handle(request: Any, *args: Any) -> None:
        seen.append(request.version())

    methods = {"verify_request": verify} if own else {}
    running = start_tls("ThreadingTCPServer", handle, **methods)
    if not own:
        silent = running.dial()  # stops nobody
    with running.dial() as plain, contexts[1].wrap_socket(plain, server_hostname="localhost") as client:
        client.recv(1)
    if not own:
        silent.close()
    assert len(seen) == 1 + own
    assert all(version.startswith("TLS") for version in seen)


def test_row_7_module_names() -> None:
    for name in compat.__all__:
        assert getattr(compat, name).__module__ == "triosock.compat"


def test_row_8_one_name_more(start: Any, lines: Any) -> None:
    running = start("TCPServer", lines)
    assert eventually(lambda: poll.servings_of(running.server))
    with socketserver.TCPServer(("127.0.0.1", 0), print) as other:
        assert set(vars(running.server)) - set(vars(other)) == {"_BaseServer__triosock"}


def test_row_9_descriptors() -> None:
    with compat.ForkingTCPServer(("127.0.0.1", 0), print) as server:
        before = len(os.listdir("/proc/self/fd"))
        with serving_in_a_thread(server):
            assert eventually(lambda: len(os.listdir("/proc/self/fd")) > before)
        assert len(os.listdir("/proc/self/fd")) == before


def test_row_10_long_intervals() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), print) as theirs, pytest.raises(OverflowError):
        theirs.serve_forever(1e10)
    with compat.ThreadingTCPServer(("127.0.0.1", 0), print) as server, serving_in_a_thread(server, 1e10):
        assert eventually(host_threads)


def test_row_11_files_on_unix_sockets() -> None:
    ours, theirs = socket.socketpair()
    seen: list[Any] = []

    class Handler(compat.StreamRequestHandler):
        def handle(self) -> None:
            seen.extend([type(self.rfile.raw), type(self.wfile), self.rfile.raw._sock is self.wfile._sock])

    with ours, theirs:
        Handler(ours, "", None)
    assert issubclass(seen[0], socket.SocketIO)
    assert seen[0] is not socket.SocketIO
    assert issubclass(seen[1], compat._SocketWriter)
    assert seen[1].__name__ == "_SocketWriter"
    assert seen[2]


def test_what_is_no_deviation_somebody_elses_selector() -> None:
    class Mine(selectors.PollSelector):
        pass

    with compat.TCPServer(("127.0.0.1", 0), print) as server:
        waiting = choose.serving(server, Mine(), compat)
        assert type(waiting) is poll.Waiting
        waiting._selector.close()
