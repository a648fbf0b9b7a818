"""serve_forever(), shutdown() and what closes a server meanwhile."""

from __future__ import annotations

import errno
import operator
import os
import select
import threading
import time
from typing import Any

import pytest

from tests.differential.harness import (
    PATIENCE,
    SERVERS,
    STREAMS,
    Log,
    Serving,
    ask,
    compared,
    dial,
    echo,
    logged,
    make_address,
    read_all,
)
from tests.waiting import eventually


@compared
def test_shutdown_before_serve_forever_ends_it_at_once(module: Any, log: Log) -> Any:
    with logged(module.TCPServer, log)(("127.0.0.1", 0), print) as server:
        stopping = threading.Thread(target=server.shutdown)
        stopping.start()
        assert eventually(lambda: server._BaseServer__shutdown_request)
        waits = stopping.is_alive()
        result = server.serve_forever()
        stopping.join(PATIENCE)
        return waits, result, stopping.is_alive(), log.by_role()


@compared
def test_a_second_shutdown_ends_the_next_serve_forever_at_once(module: Any, log: Log) -> Any:
    with module.ThreadingTCPServer(("127.0.0.1", 0), echo(module)) as server:
        Serving(server).stop()
        server.shutdown()
        flag = server._BaseServer__shutdown_request
        returned_at_once = Serving(server).join()
        again = Serving(server)
        answer = ask(server, b"x")
        return flag, returned_at_once, answer, again.stop()


@pytest.mark.parametrize("kind", SERVERS)
@compared
def test_the_flag_ends_the_loop_within_the_interval(module: Any, log: Log, kind: str) -> Any:
    class Server(getattr(module, kind)):  # type: ignore[misc]
        def service_actions(self) -> None:
            ticks.append(None)
            super().service_actions()

    ticks: list[None] = []
    with Server(make_address(kind), echo(module)) as server:
        serving = Serving(server, interval=0.1)
        assert eventually(lambda: len(ticks) > 0)
        server._BaseServer__shutdown_request = True
        before = len(ticks)
        assert serving.join() == "no error"
        # The tick after which it looks at the flag may be the one that is going on.
        assert len(ticks) <= before + 1
        assert not server._BaseServer__shutdown_request


@compared
def test_the_flag_may_be_set_by_a_handler(module: Any, log: Log) -> Any:
    class Handler(module.BaseRequestHandler):
        def handle(self) -> None:
            self.server._BaseServer__shutdown_request = True
            self.request.sendall(b"bye")

    with logged(module.TCPServer, log)(("127.0.0.1", 0), Handler) as server:
        serving = Serving(server, log, interval=30)
        return ask(server, b""), serving.join(), log.by_role()


@compared
def test_a_threaded_handler_may_shut_down_its_server(module: Any, log: Log) -> Any:
    class Handler(module.BaseRequestHandler):
        def handle(self) -> None:
            self.server.shutdown()
            self.request.sendall(b"bye")

    with module.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        serving = Serving(server)
        return ask(server, b""), serving.join()


@pytest.mark.parametrize("kind", STREAMS)
@compared
def test_who_waits_in_the_kernels_queue_stays_there(module: Any, log: Log, kind: str) -> Any:
    with logged(getattr(module, kind), log)(make_address(kind), echo(module)) as server:
        Serving(server).stop()
        with dial(server) as client:
            client.sendall(b"x")
            waits = select.select([client], [], [], 0)[0] == []
            again = Serving(server)
            answer = read_all(client)
        return waits, answer, again.stop()


@compared
def test_is_shut_down_is_the_last_thing(module: Any, log: Log) -> Any:
    found = []
    with module.ThreadingTCPServer(("127.0.0.1", 0), echo(module)) as server:
        for _ in range(20):
            before = set(threading.enumerate())
            serving = Serving(server)
            ask(server, b"x")
            server.shutdown()
            left = set(threading.enumerate()) - before - {serving.thread}
            found.append([thread.name for thread in left if "process_request" not in thread.name])
            serving.join()
    return found


@compared
def test_two_threads_may_serve_and_one_shutdown_stops_one(module: Any, log: Log) -> Any:
    # Two loops at once would be a race in either module: of two that a client wakes one waits in accept(),
    # and the flag of a shutdown, which the first that sees it resets, may be seen by both. So the second
    # begins when the clients are served, and is held outside of its wait while the first is shut down.
    held, goes_on = threading.Event(), threading.Event()

    class Server(module.ThreadingTCPServer):  # type: ignore[misc]
        def service_actions(self) -> None:
            if threading.current_thread() is not one.thread:
                held.set()
                assert goes_on.wait(20)

    with Server(("127.0.0.1", 0), echo(module)) as server:
        one = Serving(server, interval=0.2)
        answers = [ask(server, b"x") for _ in range(6)]
        two = Serving(server, interval=0.2)
        assert held.wait(20)
        server.shutdown()
        assert eventually(lambda: one.thread.is_alive() != two.thread.is_alive())
        alive = one.thread.is_alive() + two.thread.is_alive()
        goes_on.set()
        answers.append(ask(server, b"y"))
        server.shutdown()
        one.join()
        two.join()
        return answers, alive


@pytest.mark.parametrize("how", ["server_close", "socket.close"])
@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer", "UDPServer"])
@compared
def test_closed_while_serving(module: Any, log: Log, kind: str, how: str) -> Any:
    server = getattr(module, kind)(("127.0.0.1", 0), echo(module))
    serving = Serving(server, interval=0.05)
    ask(server, b"x")
    operator.attrgetter(how)(server)()
    serves_on = eventually(lambda: server.fileno() == -1) and serving.thread.is_alive()
    began = time.monotonic()
    ended = serving.stop()
    seconds = time.monotonic() - began
    server.server_close()
    return serves_on, ended, seconds < 5


@compared
def test_out_of_descriptors(module: Any, log: Log, monkeypatch: pytest.MonkeyPatch) -> Any:
    failures = [3]

    class Server(module.ThreadingTCPServer):  # type: ignore[misc]
        def get_request(self) -> Any:
            if failures[0]:
                failures[0] -= 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return super().get_request()

    with Server(("127.0.0.1", 0), echo(module)) as server:
        serving = Serving(server)
        return ask(server, b"x"), serving.stop(), failures
