"""The handler classes, their files, and what becomes of the request."""

from __future__ import annotations

import functools
import io
import socket
import ssl
import threading
import weakref
from typing import Any

import pytest

from tests.differential.harness import (
    DATAGRAMS,
    STREAMS,
    Log,
    Serving,
    ask,
    call,
    captured_stderr,
    compare,
    compared,
    dial,
    make_address,
    read_all,
)  # fmt: skip
from tests.waiting import eventually


def handler_on_a_pair(
    module: Any, attributes: dict[str, Any], data: bytes = b"hello\nworld\n"
) -> tuple[Any, bytes]:
    """Make a StreamRequestHandler on one end of a pair; return it and what the other end got."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        kind = type("Handler", (module.StreamRequestHandler,), attributes)
        handler = kind(ours, "client", "server")
        ours.close()
        return handler, read_all(theirs)


@pytest.mark.parametrize("wbufsize", [0, -1, 1, 100])
@pytest.mark.parametrize("rbufsize", [-1, 0, 8])
@compared
def test_buffers(module: Any, log: Log, rbufsize: int, wbufsize: int) -> Any:
    seen: list[Any] = []

    def handle(self: Any) -> None:
        seen.extend([type(self.rfile).__name__, type(self.wfile).__name__, self.connection is self.request])
        seen.append(self.rfile.readline())
        seen.extend([self.wfile.write(b"abc"), self.wfile.write(memoryview(b"12345678").cast("H"))])
        seen.extend([self.wfile.closed, self.wfile.writable(), self.rfile.readable()])
        seen.append(self.wfile.fileno() == self.request.fileno())

    handler, got = handler_on_a_pair(module, {"handle": handle, "rbufsize": rbufsize, "wbufsize": wbufsize})
    return seen, got, handler.wfile.closed, handler.rfile.closed


@compared
def test_private_names_of_the_files(module: Any, log: Log) -> Any:
    seen: list[Any] = []

    def handle(self: Any) -> None:
        seen.extend([self.wfile._sock is self.request, self.rfile.raw._sock is self.request])
        seen.append(isinstance(self.wfile, io.BufferedIOBase))

    handler_on_a_pair(module, {"handle": handle})
    assert seen == [True, True, True]
    return seen


@compared
def test_finish_may_run_twice_and_swallows_only_the_flush(module: Any, log: Log) -> Any:
    seen: list[Any] = []

    def handle(self: Any) -> None:
        self.wfile.write(b"never")
        self.request.shutdown(socket.SHUT_RDWR)
        seen.append(call(self.finish))

    _, got = handler_on_a_pair(module, {"handle": handle, "wbufsize": -1})
    return seen, got


@compared
def test_setup_options(module: Any, log: Log) -> Any:
    seen: list[Any] = []

    class Handler(module.StreamRequestHandler):  # type: ignore[misc]
        timeout = 3
        disable_nagle_algorithm = True

        def handle(self) -> None:
            seen.append(self.connection.gettimeout())
            seen.append(bool(self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))

    with module.TCPServer(("127.0.0.1", 0), Handler) as server, Serving(server):
        ask(server, b"")
    return seen


@compared
def test_a_request_of_ones_own_needs_only_makefile_and_sendall(module: Any, log: Log) -> Any:
    class Fake:
        def __init__(self) -> None:
            self.sent = b""

        def makefile(self, mode: str, size: int) -> Any:
            return io.BytesIO(b"in\n")

        def sendall(self, data: bytes) -> None:
            self.sent += data

        def __getattr__(self, name: str) -> Any:
            raise LookupError(f"{name} was asked for")  # as a proxy does whose object is not there yet

    class Handler(module.StreamRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline())

    fake = Fake()
    Handler(fake, None, None)
    assert fake.sent == b"in\n"
    return fake.sent


@pytest.mark.parametrize("fail", [None, "setup", "handle"])
@compared
def test_order_of_the_three_steps(module: Any, log: Log, fail: str | None) -> Any:
    steps: list[str] = []

    def step(name: str) -> Any:
        def method(self: Any) -> None:
            steps.append(name)
            if name == fail:
                raise ValueError(name)

        return method

    kind = type(
        "H", (module.BaseRequestHandler,), {name: step(name) for name in ("setup", "handle", "finish")}
    )
    try:
        kind(1, 2, 3)
    except ValueError:
        steps.append("raised")
    return steps


@pytest.mark.parametrize("form", ["partial", "function", "bound method", "lambda"])
@compared
def test_a_handler_may_be_anything_that_can_be_called(module: Any, log: Log, form: str) -> Any:
    def answer(*args: Any) -> None:
        args[-3].sendall(str(len(args)).encode())

    class Holder:
        def method(self, *args: Any) -> None:
            answer(self, *args)

    forms = {"partial": functools.partial(answer, 1), "function": answer, "bound method": Holder().method}
    with module.TCPServer(("127.0.0.1", 0), forms.get(form, lambda *args: answer(*args))) as server:
        serving = Serving(server)
        return ask(server, b""), serving.stop()


# The request


@pytest.mark.parametrize("kind", [name for name in STREAMS if "Fork" not in name])
def test_the_request_is_the_genuine_blocking_socket(kind: str) -> None:
    def scenario(module: Any, log: Log) -> Any:
        seen: list[Any] = []

        class Handler(module.BaseRequestHandler):  # type: ignore[misc]
            def handle(self) -> None:
                one = self.request
                seen.append((type(one) is socket.socket, one.getblocking(), one.get_inheritable()))
                seen.append(one.recv(100, socket.MSG_PEEK))

        with getattr(module, kind)(make_address(kind), Handler) as server, Serving(server):
            ask(server, b"x")
        return seen

    assert compare(scenario)[0] == (True, True, False)


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer"])
@compared
def test_no_reference_to_the_request_is_kept(module: Any, log: Log, kind: str) -> Any:
    gone: list[Any] = []

    class Request:
        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock

    class Server(getattr(module, kind)):  # type: ignore[misc]
        def get_request(self) -> Any:
            sock, address = super().get_request()
            request = Request(sock)
            weakref.finalize(request, gone.append, address[0])
            return request, address

        def shutdown_request(self, request: Any) -> None:
            request.sock.close()

    with Server(("127.0.0.1", 0), lambda *args: None) as server:
        serving = Serving(server)
        with dial(server) as client:
            client.recv(10)
        # Without the help of the garbage collector.
        assert eventually(lambda: bool(gone))
        return serving.stop()


@compared
def test_a_handler_may_take_the_socket_away(module: Any, log: Log) -> Any:
    kept: list[Any] = []

    class Handler(module.BaseRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            kept.append(socket.socket(fileno=self.request.detach()))

    with module.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server, captured_stderr() as printed:
        serving = Serving(server)
        with dial(server) as client:
            assert eventually(lambda: bool(kept))
            serving.stop()
            server.server_close()
            with kept[0] as request:
                request.sendall(b"later")
            return read_all(client), printed.getvalue()


@compared
def test_get_request_may_return_anything_to_unpack(module: Any, log: Log) -> Any:
    seen: list[Any] = []

    class Server(module.TCPServer):  # type: ignore[misc]
        def get_request(self) -> Any:
            request, _ = super().get_request()
            request.close()
            return ("an", "object"), {"from": "there"}

        def shutdown_request(self, request: Any) -> None:
            seen.append(request)

    with Server(("127.0.0.1", 0), lambda *args: seen.append(args[:2])) as server, Serving(server):
        with dial(server) as client:
            client.recv(10)
            assert eventually(lambda: len(seen) == 2)
    return seen


# Datagrams


@pytest.mark.parametrize("kind", DATAGRAMS)
def test_datagrams(kind: str) -> None:
    def scenario(module: Any, log: Log) -> Any:
        class Handler(module.DatagramRequestHandler):  # type: ignore[misc]
            def handle(self) -> None:
                same = self.socket is self.server.socket
                if self.packet != b"mute":
                    self.wfile.write(b"%d %s %r" % (len(self.packet), self.rfile.read(3), same))

        class Server(getattr(module, kind)):  # type: ignore[misc]
            max_packet_size = 10

        with Server(make_address(kind), Handler) as server:
            serving = Serving(server)
            answers = [ask(server, data) for data in (b"abcdef", b"x" * 30, b"mute")]
            return answers, serving.stop()

    answers, _ = compare(scenario)
    assert answers == [b"6 abc True", b"10 xxx True", b""]


@compared
def test_a_client_without_a_name_costs_a_traceback(module: Any, log: Log) -> Any:
    with module.UnixDatagramServer(make_address("Unix"), module.DatagramRequestHandler) as server:
        with captured_stderr() as printed, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", server.server_address)
            server.handle_request()
        assert "Error" in printed.getvalue()
        return printed.getvalue()


# TLS


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
@pytest.mark.parametrize("where", ["listener", "get_request", "finish_request"])
@compared
def test_tls_wherever_people_put_it(module: Any, log: Log, kind: str, where: str, contexts: Any) -> Any:
    server_context, client_context = contexts

    def wrap(sock: Any) -> Any:
        return server_context.wrap_socket(sock, server_side=True)

    class Server(getattr(module, kind)):  # type: ignore[misc]
        if where == "get_request":

            def get_request(self) -> Any:
                request, address = super().get_request()
                return wrap(request), address

        if where == "finish_request":

            def finish_request(self, request: Any, client_address: Any) -> None:
                with wrap(request) as wrapped:
                    super().finish_request(wrapped, client_address)

    class Handler(module.StreamRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            facts = isinstance(self.request, ssl.SSLSocket), self.request.version().encode()
            self.wfile.write(b"%s %r %s" % (self.rfile.readline(), *facts))

    with Server(("127.0.0.1", 0), Handler) as server, captured_stderr() as printed:
        if where == "listener":
            server.socket = wrap(server.socket)
        serving = Serving(server)
        with (
            dial(server) as plain,
            client_context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(b"hello\n")
            answer = client.recv(1000)
        if where != "finish_request":
            with dial(server) as stranger:
                stranger.sendall(b"no TLS at all\r\n\r\n")
                read_all(stranger)
        ended = serving.stop()
    assert b"True" in answer
    return answer, ended, printed.getvalue(), serving.thread is threading.current_thread()
