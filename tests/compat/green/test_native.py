"""Handler classes under a native server: their requests and their errors."""

from __future__ import annotations

import errno
import socket
import socketserver
from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.handlers import ask_line
from tests.servers import connected
from triosock import Cause, Connection, compat
from triosock.events import ConnectionClosed, HandlerFailed
from triosock.testing import MemoryListener, open_server

Request = Any


def handler_of(handle: Callable[[Request], object]) -> Any:
    """Return a handler class whose `handle()` calls this with the request."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            handle(self.request)

    return compat.green_handler(Handler)


async def result_of(handle: Callable[[Request], object], *sent: bytes) -> Any:
    """Return what it returns for a client that sends these pieces, with a pause after each, and ends."""
    results: list[Any] = []
    async with connected(handler_of(lambda request: results.append(handle(request)))) as (_, client):
        for data in sent:
            await client.send_all(data)
            await trio.sleep(1)
        await client.send_eof()
        while await client.receive_some():
            pass
    return results[0]


async def test_it_receives_as_a_blocking_socket_does(autojump_clock: trio.abc.Clock) -> None:
    def receive(request: Request) -> list[bytes]:
        room = bytearray(3)
        taken = [request.recv(2), request.recv(100), bytes(room[: request.recv_into(room)])]
        return [*taken, request.recv(0), request.recv(100), request.recv(1), request.recv(1)]

    assert await result_of(receive, b"hello", b"you", b"!") == [b"he", b"llo", b"you", b"", b"!", b"", b""]


async def test_it_sends_and_makes_files(autojump_clock: trio.abc.Clock) -> None:
    def answer(request: Request) -> None:
        with request, request.makefile("rwb") as file, request.makefile("r") as text:
            request.close()  # with the last of the files
            file.write(file.readline().upper())
            file.flush()
            file.write(text.readline().upper().encode())
        with pytest.raises(OSError, match="Bad file descriptor"):
            request.recv(1)

    async with connected(handler_of(answer)) as (served, client):
        assert await ask_line(client, b"one\n") == b"ONE\n"
        assert await ask_line(client, b"two\n") == b"TWO\n"
        assert await client.receive_some() == b""
    assert served.report is not None
    assert served.report.failed == 0


async def test_timeouts_are_those_of_a_socket(autojump_clock: trio.abc.Clock) -> None:
    def wait(request: Request) -> list[object]:
        assert (request.gettimeout(), request.timeout, request.getblocking()) == (None, None, True)
        request.settimeout(5)
        began = trio.current_time()
        with pytest.raises(TimeoutError, match="timed out"):
            request.recv(1)
        waited = trio.current_time() - began
        request.setblocking(False)
        with pytest.raises(BlockingIOError):
            request.recv(1)
        with pytest.raises(ValueError, match="out of range"):
            request.settimeout(-1)
        return [waited, request.getblocking()]

    results: list[Any] = []
    async with open_server(handler_of(lambda request: results.append(wait(request)))) as served:
        await served.connect()
        await trio.sleep(10)
    assert results == [[5.0, False]]


async def test_what_needs_a_descriptor_says_so() -> None:
    def look(request: Request) -> list[object]:
        for call in (
            request.fileno,
            lambda: request.recv(1, socket.MSG_PEEK),
            lambda: request.sendall(b"x", socket.MSG_OOB),
        ):
            with pytest.raises(OSError, match="connection of a native server") as raised:
                call()
            assert raised.value.errno == errno.EOPNOTSUPP
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        with pytest.raises(ValueError, match="negative buffersize"):
            request.recv(-1)
        return [request.send(b"abc"), request.type, request.proto, repr(request)[:17]]

    assert await result_of(look) == [3, socket.SOCK_STREAM, 0, "<ConnectionSocket"]


async def test_a_peer_that_resets_is_a_connection_error_and_no_failure_of_the_handlers() -> None:
    told: list[BaseException] = []

    def wait(request: Request) -> None:
        request.sendall(b"ready\n")
        try:
            request.recv(1)
        except ConnectionError as error:
            told.append(error)
            raise

    async with connected(handler_of(wait)) as (served, client):
        assert await client.receive_until(b"\n") == b"ready\n"
        client.abort()
        await served.recorder.wait_for(ConnectionClosed)
        assert [event.cause for event in served.recorder.of(ConnectionClosed)] == [Cause.PEER]
        assert not served.recorder.of(HandlerFailed)
    assert isinstance(told[0], ConnectionResetError)
    assert told[0].errno == errno.ECONNRESET


async def test_errors_are_given_to_the_servers_hook_and_then_to_the_native_server() -> None:
    handled: list[object] = []

    class Server(compat.ThreadingTCPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            handled.append(client_address)

    class Fails(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            assert isinstance(self.server, Server)
            raise LookupError("no such thing")

    with Server(("127.0.0.1", 0), Fails, bind_and_activate=False) as server:
        async with open_server(compat.green_handler(Fails, server)) as served:
            await served.connect()
            failed = await served.recorder.wait_for(HandlerFailed)
    assert isinstance(failed.error, LookupError)
    assert len(handled) == 1


async def test_who_is_not_verified_is_shut_down() -> None:
    class Server(socketserver.ThreadingTCPServer):  # the standard library's own will do
        def verify_request(self, request: Any, client_address: Any) -> bool:
            return False

    with Server(("127.0.0.1", 0), socketserver.BaseRequestHandler, bind_and_activate=False) as server:
        handler = compat.green_handler(server.RequestHandlerClass, server)
        async with connected(handler) as (_, client):
            assert await client.receive_some() == b""


async def test_over_real_sockets(serving: Any) -> None:
    class Tell(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline()
            host, port = self.client_address
            assert self.request.getpeername() == self.client_address
            self.wfile.write(line.upper() + f"{host} {port} {self.request.getsockname()[1]}\n".encode())

    async with serving(compat.green_handler(Tell)) as server:
        port = server.addresses[0].port
        async with Connection(await trio.open_tcp_stream("127.0.0.1", port)) as client:
            assert await ask_line(client, b"hello\n") == b"HELLO\n"
            own = client.transport.socket.getsockname()[1]
            assert await client.receive_until(b"\n") == f"127.0.0.1 {own} {port}\n".encode()
            assert await client.receive_some() == b""


async def test_a_request_may_be_used_in_its_own_task_only() -> None:
    kept: list[Request] = []
    async with connected(handler_of(kept.append)) as (_, client):
        assert await client.receive_some() == b""
    with pytest.raises(OSError, match="Bad file descriptor"):
        kept[0].recv(1)


def test_a_handler_class_must_be_callable() -> None:
    with pytest.raises(TypeError, match="handler_class must be a class of request handlers"):
        compat.green_handler(b"no class")  # type: ignore[arg-type]


async def test_listeners_of_memory_will_do() -> None:
    class Echo(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(self.request.recv(10))

    async with connected(compat.green_handler(Echo), listeners=[MemoryListener("somewhere")]) as (_, client):
        await client.send_all(b"hello")
        assert await client.receive_exactly(5) == b"hello"
