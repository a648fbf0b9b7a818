"""serve_forever, shutdown, handle_request, the constructor and server_close."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import select
import selectors
import socket
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
    captured_stderr,
    compare,
    dial,
    error_text,
    eventually,
    forks_are_fine,
    logged,
    make_address,
    read_all,
    timed,
    timing,
)  # fmt: skip

pytestmark = forks_are_fine


def call(function: Any, *args: Any) -> Any:
    """Return what a call returns, or the text of its error."""
    try:
        return function(*args)
    except BaseException as error:
        return error_text(error)


def echo(module: Any) -> Any:
    class Handler(module.BaseRequestHandler):
        def handle(self) -> None:
            if isinstance(self.request, tuple):
                self.request[1].sendto(self.request[0].upper(), self.client_address)
            else:
                self.request.sendall(self.request.recv(100).upper())

    return Handler


# The constructor


@pytest.mark.parametrize(
    ("address", "options"),
    [
        (("127.0.0.1", 99999), {}),
        (("127.0.0.1", -1), {}),
        (("host.invalid", 0), {}),
        ("not an address", {}),
        (None, {}),
        (("127.0.0.1", 0), {"request_queue_size": "many"}),
        (("::1", 0), {}),
        (("127.0.0.1", 0), {"address_family": "inet"}),
    ],
)
@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingUDPServer", "ForkingTCPServer"])
def test_a_constructor_that_fails(kind: str, address: Any, options: dict[str, Any], no_leaks: None) -> None:
    def scenario(module: Any, log: Log) -> Any:
        server = logged(type(kind, (getattr(module, kind),), options), log)
        made = call(server, address, print)
        if not isinstance(made, str):
            made.server_close()
            made = "made"
        return made, log.by_role()

    compare(scenario)


def test_an_address_in_use_is_the_systems_error(no_leaks: None) -> None:
    def scenario(module: Any, log: Log) -> Any:
        with module.TCPServer(("127.0.0.1", 0), print) as first, pytest.raises(OSError) as caught:  # noqa: PT011
            module.TCPServer(first.server_address, print)
        return caught.value.errno == errno.EADDRINUSE

    assert compare(scenario)


@pytest.mark.parametrize("kind", SERVERS)
def test_without_bind_and_activate(kind: str) -> None:
    def scenario(module: Any, log: Log) -> Any:
        server = logged(getattr(module, kind), log)(make_address(kind), echo(module), bind_and_activate=False)
        unbound = server.socket.getsockname() in (("0.0.0.0", 0), "")
        server.server_bind()
        server.server_activate()
        serving = Serving(server)
        answer = ask(server, b"x")
        serving.stop()
        server.server_close()
        return unbound, answer, log.by_role()["main"]

    compare(scenario)


@pytest.mark.parametrize("kind", ["TCPServer", "UDPServer", "UnixStreamServer"])
def test_the_calls_on_the_socket(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def scenario(module: Any, log: Log) -> Any:
        calls: list[Any] = []

        class Recording:
            def __init__(self, *args: Any) -> None:
                calls.append(("socket", *map(int, args)))

            def __getattr__(self, name: str) -> Any:
                return lambda *args: calls.append((name, *map(str, args)))

        server_class = type(
            kind, (getattr(module, kind),), {"allow_reuse_address": True, "allow_reuse_port": True}
        )
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Recording)
            with server_class("there", print):
                pass
        return calls

    compare(scenario)


def test_it_is_neither_pickled_nor_copied_deeply() -> None:
    def scenario(module: Any, log: Log) -> Any:
        with module.TCPServer(("127.0.0.1", 0), print) as server:
            Serving(server).server.shutdown()
            return (
                call(pickle.dumps, server),
                call(copy.deepcopy, server),
                copy.copy(server).server_address[0],
            )

    compare(scenario)


def test_the_constructor_may_run_again_on_the_same_object() -> None:
    def scenario(module: Any, log: Log) -> Any:
        server = module.ThreadingTCPServer(("127.0.0.1", 0), echo(module))
        answers = []
        for _ in range(2):
            serving = Serving(server)
            answers.append(ask(server, b"x"))
            serving.stop()
            server.server_close()
            server.__init__(("127.0.0.1", 0), echo(module))
        server.server_close()
        return answers

    compare(scenario)


# shutdown


def test_shutdown_before_serve_forever_ends_it_at_once() -> None:
    def scenario(module: Any, log: Log) -> Any:
        with logged(module.TCPServer, log)(("127.0.0.1", 0), print) as server:
            stopping = threading.Thread(target=server.shutdown)
            stopping.start()
            assert eventually(lambda: server._BaseServer__shutdown_request)
            waits = stopping.is_alive()
            result = server.serve_forever()
            stopping.join(PATIENCE)
            return waits, result, stopping.is_alive(), log.by_role()

    compare(scenario)


def test_a_second_shutdown_poisons_the_next_serve_forever() -> None:
    def scenario(module: Any, log: Log) -> Any:
        with module.ThreadingTCPServer(("127.0.0.1", 0), echo(module)) as server:
            Serving(server).stop()
            server.shutdown()
            flag = server._BaseServer__shutdown_request
            returned_at_once = Serving(server).join()
            again = Serving(server)
            answer = ask(server, b"x")
            return flag, returned_at_once, answer, again.stop()

    compare(scenario)


@pytest.mark.parametrize("kind", SERVERS)
def test_the_flag_ends_the_loop_within_the_interval(kind: str) -> None:
    def scenario(module: Any, log: Log) -> Any:
        interval = 0.1

        class Server(getattr(module, kind)):  # type: ignore[misc]
            def service_actions(self) -> None:
                ticks.append(time.monotonic())
                super().service_actions()

        ticks: list[float] = []
        with Server(make_address(kind), echo(module)) as server:
            serving = Serving(server, interval=interval)
            assert eventually(lambda: len(ticks) > 0)
            server._BaseServer__shutdown_request = True
            _, seconds = timed(serving.join)
            return timing(seconds, interval) in (
                "at once",
                "within the interval",
            ), server._BaseServer__shutdown_request

    assert compare(scenario) == (True, False)


def test_the_flag_may_be_set_by_a_handler() -> None:
    def scenario(module: Any, log: Log) -> Any:
        class Handler(module.BaseRequestHandler):
            def handle(self) -> None:
                self.server._BaseServer__shutdown_request = True
                self.request.sendall(b"bye")

        with logged(module.TCPServer, log)(("127.0.0.1", 0), Handler) as server:
            serving = Serving(server, log, interval=30)
            return ask(server, b""), serving.join(), log.by_role()

    compare(scenario)


def test_a_threaded_handler_may_shut_down_its_server() -> None:
    def scenario(module: Any, log: Log) -> Any:
        class Handler(module.BaseRequestHandler):
            def handle(self) -> None:
                self.server.shutdown()
                self.request.sendall(b"bye")

        with module.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            serving = Serving(server)
            return ask(server, b""), serving.join()

    compare(scenario)


@pytest.mark.parametrize("kind", STREAMS)
def test_who_waits_in_the_kernels_queue_stays_there(kind: str) -> None:
    def scenario(module: Any, log: Log) -> Any:
        with logged(getattr(module, kind), log)(make_address(kind), echo(module)) as server:
            Serving(server).stop()
            with dial(server) as client:
                client.sendall(b"x")
                waits = select.select([client], [], [], 0)[0] == []
                again = Serving(server)
                answer = read_all(client)
            return waits, answer, again.stop()

    compare(scenario)


def test_is_shut_down_is_the_last_thing() -> None:
    def scenario(module: Any, log: Log) -> Any:
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

    compare(scenario)


def test_two_threads_may_serve_and_one_shutdown_stops_one() -> None:
    def scenario(module: Any, log: Log) -> Any:
        with module.ThreadingTCPServer(("127.0.0.1", 0), echo(module)) as server:
            one, two = Serving(server, interval=0.2), Serving(server, interval=0.2)
            answers = [ask(server, b"x") for _ in range(6)]
            server.shutdown()
            assert eventually(lambda: one.thread.is_alive() != two.thread.is_alive())
            alive = one.thread.is_alive() + two.thread.is_alive()
            answers.append(ask(server, b"y"))
            server.shutdown()
            one.join()
            two.join()
            return answers, alive

    compare(scenario)


@pytest.mark.parametrize("how", ["server_close", "socket.close"])
@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer", "UDPServer"])
def test_closed_while_serving(kind: str, how: str) -> None:
    def scenario(module: Any, log: Log) -> Any:
        server = getattr(module, kind)(("127.0.0.1", 0), echo(module))
        serving = Serving(server, interval=0.05)
        ask(server, b"x")
        if how == "server_close":
            server.server_close()
        else:
            server.socket.close()
        serves_on = eventually(lambda: server.fileno() == -1) and serving.thread.is_alive()
        ended, seconds = timed(serving.stop)
        server.server_close()
        return serves_on, ended, timing(seconds, 1.0)

    compare(scenario)


def test_out_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def scenario(module: Any, log: Log) -> Any:
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

    compare(scenario)


# service_actions and the interval


@pytest.mark.parametrize("kind", SERVERS)
def test_idle_ticks_come_at_the_interval(kind: str) -> None:
    def scenario(module: Any, log: Log) -> Any:
        ticks: list[float] = []

        class Server(getattr(module, kind)):  # type: ignore[misc]
            def service_actions(self) -> None:
                ticks.append(time.monotonic())
                super().service_actions()
                if len(ticks) == 4:
                    self._BaseServer__shutdown_request = True

        with Server(make_address(kind), print) as server:
            began = time.monotonic()
            Serving(server, interval=0.05).join()
        # Never early; how late is a matter of the machine.
        return len(ticks), [tick - began >= 0.049 * number for number, tick in enumerate(ticks, 1)]

    compare(scenario)


@pytest.mark.parametrize("interval", [0, -1, 0.0])
def test_an_interval_of_nothing_never_waits(interval: Any) -> None:
    def scenario(module: Any, log: Log) -> Any:
        ticks = [0]

        class Server(module.ThreadingTCPServer):  # type: ignore[misc]
            def service_actions(self) -> None:
                ticks[0] += 1
                if ticks[0] == 3:
                    self._BaseServer__shutdown_request = True

        with Server(("127.0.0.1", 0), print) as server:
            return Serving(server, interval=interval).join()

    compare(scenario)


@pytest.mark.parametrize("interval", ["soon", [], object])
def test_an_interval_that_is_none(interval: Any) -> None:
    def scenario(module: Any, log: Log) -> Any:
        found = []
        for kind in (module.TCPServer, module.ThreadingTCPServer, module.ForkingTCPServer):
            with kind(("127.0.0.1", 0), print) as server:
                found.append(Serving(server, interval=interval).join())
        return found

    compare(scenario)


@pytest.mark.parametrize("kind", SERVERS)
def test_without_an_interval_it_blocks_until_a_request(kind: str) -> None:
    def scenario(module: Any, log: Log) -> Any:
        served = [0]

        class Server(getattr(module, kind)):  # type: ignore[misc]
            def process_request(self, request: Any, client_address: Any) -> None:
                served[0] += 1
                self._BaseServer__shutdown_request = served == [2]
                super().process_request(request, client_address)

        with Server(make_address(kind), echo(module)) as server:
            serving = Serving(server, interval=None)
            answers = [ask(server, b"x"), ask(server, b"y")]
            return answers, serving.join(), served

    compare(scenario)


@pytest.mark.parametrize("replacement", ["SelectSelector", "DefaultSelector"])
@pytest.mark.parametrize("kind", SERVERS)
def test_another_selector_is_used_as_it_is(
    kind: str, replacement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scenario(module: Any, log: Log) -> Any:
        calls: list[Any] = []

        class Recording(getattr(selectors, replacement)):  # type: ignore[misc]
            def register(self, fileobj: Any, events: Any, data: Any = None) -> Any:
                calls.append(("register", type(fileobj).__name__, events))
                return super().register(fileobj, events, data)

            def select(self, timeout: Any = None) -> Any:
                calls.append(("select", timeout))
                return super().select(timeout)

            def close(self) -> None:
                calls.append("close")
                super().close()

        class Server(getattr(module, kind)):  # type: ignore[misc]
            def service_actions(self) -> None:
                self._BaseServer__shutdown_request = True

        with monkeypatch.context() as patch:
            patch.setattr(module, "_ServerSelector", Recording)
            with Server(make_address(kind), echo(module)) as server:
                Serving(server, interval=0.01).join()
        return calls

    compare(scenario)


# handle_request


def test_handle_request_and_its_timeouts() -> None:
    def scenario(module: Any, log: Log) -> Any:
        class Server(logged(module.ThreadingTCPServer, log)):  # type: ignore[misc]
            def handle_timeout(self) -> str:
                log("handle_timeout")
                return "timed out"

        found: list[Any] = []
        with Server(("127.0.0.1", 0), echo(module)) as server:
            for own, of_socket in [
                (0, None),
                (-1, None),
                (0.02, None),
                (None, 0.02),
                (5, 0.02),
                (0.02, 5),
                (0, 5),
            ]:
                server.timeout = own
                server.socket.settimeout(of_socket)
                found.append((own, of_socket, server.handle_request()))
            with dial(server) as client:
                client.sendall(b"x")
                found.append(server.handle_request())
                found.append(read_all(client))
            flags = server._BaseServer__is_shut_down.is_set(), server._BaseServer__shutdown_request
        return found, flags, log.by_role()

    compare(scenario)


@pytest.mark.parametrize("kind", SERVERS)
def test_handle_request_and_serve_forever_on_a_closed_server(kind: str) -> None:
    def scenario(module: Any, log: Log) -> Any:
        server = getattr(module, kind)(make_address(kind), print)
        server.server_close()
        server.server_close()
        found = call(server.serve_forever), call(_without_timeout(server).handle_request), server.fileno()
        return found, server._BaseServer__is_shut_down.is_set()

    def _without_timeout(server: Any) -> Any:
        server.socket = type("Closed", (), {"gettimeout": lambda self: None, "fileno": lambda self: -1})()
        return server

    compare(scenario)


def test_handle_timeout_may_raise() -> None:
    def scenario(module: Any, log: Log) -> Any:
        class Server(module.TCPServer):  # type: ignore[misc]
            timeout = 0

            def handle_timeout(self) -> None:
                raise RuntimeError("nobody came")

        with Server(("127.0.0.1", 0), print) as server:
            return call(server.handle_request)

    compare(scenario)


def test_one_request_is_used_up_by_an_accept_error_or_a_refusal() -> None:
    def scenario(module: Any, log: Log) -> Any:
        class Server(logged(module.TCPServer, log)):  # type: ignore[misc]
            def get_request(self) -> Any:
                log("get_request")
                raise TimeoutError

        with Server(("127.0.0.1", 0), print) as server, dial(server):
            return server.handle_request(), log.by_role()

    compare(scenario)


@pytest.mark.parametrize("kind", SERVERS)
def test_handle_request_noblock_may_be_called_by_anybody(kind: str) -> None:
    def scenario(module: Any, log: Log) -> Any:
        with logged(getattr(module, kind), log)(make_address(kind), echo(module)) as server:
            server.socket.settimeout(0.0)
            nobody = server._handle_request_noblock()
            server.socket.settimeout(None)
            with dial(server) as client:
                client.sendall(b"x")
                server._handle_request_noblock()
                answer = client.recv(10)
        return nobody, answer, log.by_role()

    compare(scenario)


def test_a_base_server_without_a_socket_of_its_own() -> None:
    def scenario(module: Any, log: Log) -> Any:
        class Server(module.BaseServer):  # type: ignore[misc]
            def __init__(self) -> None:
                module.BaseServer.__init__(self, "nowhere", echo(module))
                self.ours, self.theirs = socket.socketpair()

            def fileno(self) -> int:
                return self.ours.fileno()

            def get_request(self) -> Any:
                return self.ours, "them"

            def service_actions(self) -> None:
                self._BaseServer__shutdown_request = True

        server = Server()
        server.theirs.sendall(b"x")
        ended = Serving(server).join()
        answer = server.theirs.recv(10)
        server.ours.close()
        server.theirs.close()
        return ended, answer, call(server.handle_request)

    compare(scenario)


def test_nothing_is_printed_by_a_server_that_was_never_served(no_leaks: None) -> None:
    def scenario(module: Any, log: Log) -> Any:
        with captured_stderr() as printed:
            before = threading.active_count()
            for kind in SERVERS:
                getattr(module, kind)(make_address(kind), print).server_close()
            return printed.getvalue(), threading.active_count() - before

    compare(scenario)
