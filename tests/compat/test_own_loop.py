"""serve() of a server whose own `serve_forever()` loops over `handle_request()`."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from typing import Any

import pytest
import trio

from tests.waiting import PATIENCE
from triosock import Cause, compat
from triosock.compat.waiting.poll import PAUSE

KINDS = ["TCPServer", "ThreadingTCPServer", "GreenTCPServer"]


def of_own_loop(kind: str, lines: Any, **names: Any) -> Any:
    """A server of this kind with a loop of its own."""

    class Server(getattr(compat, kind)):  # type: ignore[misc]
        left: BaseException | None = None
        turns = 0

        def serve_forever(self, poll_interval: float = 0.5) -> None:
            try:
                while True:
                    self.handle_request()
                    self.turns += 1
            except BaseException as error:
                self.left = error
                raise

    return type("Server", (Server,), names)(("127.0.0.1", 0), lines)


async def ask(server: Any, data: bytes) -> trio.SocketStream:
    stream = await trio.open_tcp_stream(*server.server_address[:2])
    await stream.send_all(data)
    assert await stream.receive_some() == data.upper()
    return stream


@pytest.mark.parametrize("timeout", [None, PATIENCE * 10])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_drain_ends_an_idle_loop(kind: str, timeout: Any, lines: Any) -> None:
    server = of_own_loop(kind, lines, timeout=timeout)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(compat.serve, server)
            stream = await ask(server, b"one\n")
            await stream.aclose()
            running.drain(grace=60)
            report = await running.wait_closed()
    assert report.drained
    assert server.fileno() == -1
    assert not isinstance(server.left, Exception)


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelling_it_ends_an_idle_loop(kind: str, lines: Any) -> None:
    server = of_own_loop(kind, lines)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(compat.serve, server)
            stream = await ask(server, b"one\n")
            nursery.cancel_scope.cancel()
    assert server.fileno() == -1
    await stream.aclose()


@pytest.mark.parametrize("how", ["drain", "cancel"])
async def test_before_its_first_request(how: str, lines: Any) -> None:
    server = of_own_loop("ThreadingTCPServer", lines)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(compat.serve, server)
            running.drain() if how == "drain" else nursery.cancel_scope.cancel()
    assert server.fileno() == -1


async def test_a_drain_serves_who_is_in_the_kernels_queue(lines: Any) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    class Handler(lines):  # type: ignore[misc]
        def handle(self) -> None:
            begun.set()
            assert goes_on.wait(PATIENCE)
            super().handle()

    server = of_own_loop("TCPServer", Handler)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(compat.serve, server)
            clients = [socket.create_connection(server.server_address, PATIENCE) for _ in range(3)]
            for client in clients:
                client.sendall(b"one\n")
                client.shutdown(socket.SHUT_WR)
            assert await trio.to_thread.run_sync(begun.wait, PATIENCE)
            running.drain(grace=60)
            goes_on.set()
            report = await running.wait_closed()
    assert [client.recv(100) for client in clients] == [b"ONE\n"] * 3
    for client in clients:
        client.close()
    assert report.clean
    assert running.statistics().ended == {Cause.FINISHED: 3}


async def test_shutdown_wakes_a_loop_without_ending_it(lines: Any) -> None:
    class Server(compat.TCPServer):
        def serve_forever(self, poll_interval: float = 0.5) -> None:
            vars(self)["_BaseServer__is_shut_down"].clear()
            while not vars(self)["_BaseServer__shutdown_request"]:
                self.handle_request()
            vars(self)["_BaseServer__is_shut_down"].set()

    server = Server(("127.0.0.1", 0), lines)
    server.timeout = 0.01
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(compat.serve, server)
            await (await ask(server, b"one\n")).aclose()
            await trio.to_thread.run_sync(server.shutdown)
            assert (await running.wait_closed()).drained


async def test_shutdown_wakes_a_loop_of_the_standard_library_that_comes_after_it(lines: Any) -> None:
    class Server(compat.ThreadingTCPServer):
        def serve_forever(self, poll_interval: float | None = None) -> None:
            self.handle_request()
            super().serve_forever(PATIENCE * 10)

    server = Server(("127.0.0.1", 0), lines)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(compat.serve, server)
            for data in (b"one\n", b"two\n"):
                await (await ask(server, data)).aclose()
            await trio.to_thread.run_sync(server.shutdown)
            assert (await running.wait_closed()).drained


async def test_its_timeouts_are_its_own(lines: Any) -> None:
    class Enough(Exception):
        pass

    def handle_timeout(server: Any) -> None:
        server.late = getattr(server, "late", 0) + 1
        if server.late == 3:
            raise Enough

    server = of_own_loop("TCPServer", lines, timeout=0.01, handle_timeout=handle_timeout)
    with trio.fail_after(PATIENCE), pytest.raises(Enough):
        await compat.serve(server)
    assert (server.late, server.turns) == (3, 2)


async def test_a_selector_of_the_program_has_nothing_else_in_it(lines: Any, monkeypatch: Any) -> None:
    seen: list[int] = []

    class Selector(selectors.SelectSelector):
        def select(self, timeout: float | None = None) -> Any:
            seen.append(len(self.get_map()))
            return super().select(timeout)

    monkeypatch.setattr(compat, "_ServerSelector", Selector)
    server = of_own_loop("TCPServer", lines, timeout=0.01)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(compat.serve, server)
            await (await ask(server, b"one\n")).aclose()
            running.drain()
    assert set(seen) == {1}


async def test_a_handler_in_a_loop_of_the_standard_library_is_not_ended(lines: Any) -> None:
    results: list[object] = []

    class Handler(lines):  # type: ignore[misc]
        def handle(self) -> None:
            self.server.timeout = 0.01
            results.append(self.server.handle_request())
            super().handle()

    server = compat.TCPServer(("127.0.0.1", 0), Handler)
    server.handle_timeout = lambda: "late"  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        running = await nursery.start(compat.serve, server)
        await (await ask(server, b"one\n")).aclose()
        running.drain()
    assert results == ["late"]


async def test_a_loop_that_catches_everything_does_not_busy_loop(lines: Any) -> None:
    caught: list[float] = []

    class Server(compat.TCPServer):
        def serve_forever(self, poll_interval: float | None = 0.5) -> None:
            while len(caught) < 3:
                try:
                    self.handle_request()
                except:  # noqa: E722 - as programs do
                    caught.append(time.monotonic())

    server = Server(("127.0.0.1", 0), lines)
    async with trio.open_nursery() as nursery:
        running = await nursery.start(compat.serve, server)
        await (await ask(server, b"one\n")).aclose()
        running.drain()
    assert caught[2] - caught[0] >= 2 * PAUSE * 0.9


async def test_a_loop_that_takes_no_interval(lines: Any) -> None:
    class Server(compat.TCPServer):
        def serve_forever(self) -> None:  # type: ignore[override]
            super().serve_forever(0.01)

    server = Server(("127.0.0.1", 0), lines)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(compat.serve, server)
            await (await ask(server, b"one\n")).aclose()
            running.drain()
