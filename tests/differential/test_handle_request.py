"""handle_request() and _handle_request_noblock(), in loops of one's own."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from tests.differential.harness import (
    SERVERS,
    Log,
    Serving,
    call,
    captured_stderr,
    compared,
    dial,
    echo,
    logged,
    make_address,
    read_all,
)


@compared
def test_handle_request_and_its_timeouts(module: Any, log: Log) -> Any:
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


@pytest.mark.parametrize("kind", SERVERS)
@compared
def test_handle_request_and_serve_forever_on_a_closed_server(module: Any, log: Log, kind: str) -> Any:
    server = getattr(module, kind)(make_address(kind), print)
    server.server_close()
    server.server_close()
    served = call(server.serve_forever)
    server.socket = type("Closed", (), {"gettimeout": lambda self: None, "fileno": lambda self: -1})()
    return served, call(server.handle_request), server.fileno(), server._BaseServer__is_shut_down.is_set()


@compared
def test_handle_timeout_may_raise(module: Any, log: Log) -> Any:
    class Server(module.TCPServer):  # type: ignore[misc]
        timeout = 0

        def handle_timeout(self) -> None:
            raise RuntimeError("nobody came")

    with Server(("127.0.0.1", 0), print) as server:
        return call(server.handle_request)


@compared
def test_one_request_is_used_up_by_an_accept_error_or_a_refusal(module: Any, log: Log) -> Any:
    class Server(logged(module.TCPServer, log)):  # type: ignore[misc]
        def get_request(self) -> Any:
            log("get_request")
            raise TimeoutError

    with Server(("127.0.0.1", 0), print) as server, dial(server):
        return server.handle_request(), log.by_role()


@pytest.mark.parametrize("kind", SERVERS)
@compared
def test_handle_request_noblock_may_be_called_by_anybody(module: Any, log: Log, kind: str) -> Any:
    with logged(getattr(module, kind), log)(make_address(kind), echo(module)) as server:
        server.socket.settimeout(0.0)
        nobody = server._handle_request_noblock()
        server.socket.settimeout(None)
        with dial(server) as client:
            client.sendall(b"x")
            server._handle_request_noblock()
            answer = client.recv(10)
    return nobody, answer, log.by_role()


@compared
def test_a_base_server_without_a_socket_of_its_own(module: Any, log: Log) -> Any:
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


@compared
def test_nothing_is_printed_by_a_server_that_was_never_served(module: Any, log: Log, no_leaks: None) -> Any:
    with captured_stderr() as printed:
        before = set(threading.enumerate())
        for kind in SERVERS:
            getattr(module, kind)(make_address(kind), print).server_close()
        return printed.getvalue(), set(threading.enumerate()) - before
