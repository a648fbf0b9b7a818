"""serve(): compat servers in a trio program."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from typing import Any

import pytest
import trio

import triosock
from tests.handlers import shout
from triosock import Cause, compat
from triosock._core.model.events import ServerClosed, ServerStarted
from triosock.compat.bridge import trio_thread
from triosock.compat.control import drain_target
from triosock.compat.requests.table import request_table_of


def request_threads() -> list[threading.Thread]:
    """The threads of requests and of loops; trio's idle workers are its own."""
    return [one for one in threading.enumerate() if "process_request" in one.name or "host" in one.name]


async def ask(server: Any, data: bytes) -> trio.SocketStream:
    stream = await trio.open_tcp_stream(*server.server_address[:2])
    await stream.send_all(data)
    assert await stream.receive_some() == data.upper()
    return stream


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer"])
async def test_a_drain_ends_it_with_a_report(kind: str, lines: Any, recorder: Any) -> None:
    server = getattr(compat, kind)(("127.0.0.1", 0), lines)
    async with trio.open_nursery() as nursery:
        serve = functools.partial(compat.serve, server, observers=[recorder], name="mine")
        running = await nursery.start(serve)
        assert isinstance(running, compat.CompatServer)
        assert running.addresses == (triosock.TcpAddress(*server.server_address),)
        stream = await ask(server, b"one\n")
        assert running.statistics().active == 1
        running.drain(grace=60)
        assert running.draining
        assert await stream.receive_some() == b""
        report = await running.wait_closed()
        await stream.aclose()
    assert report.clean
    assert report.finished == 1
    assert server.fileno() == -1
    assert not request_threads()
    assert {event.server for event in recorder.events} == {"mine"}
    ends = (ServerStarted, ServerClosed)
    assert [type(event) for event in recorder.events if isinstance(event, ends)] == [*ends]


@pytest.mark.parametrize("is_taken", [False, True])
async def test_a_request_that_begins_after_the_report_of_a_drain_does_not_delay_the_end(
    is_taken: bool, gate: Any
) -> None:
    class Server(compat.TCPServer):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            return gate.pass_through() is None if is_taken else True

    def handle(request: Any, *args: Any) -> None:
        if not is_taken:
            gate.pass_through()
        request.recv(10)

    server = Server(("127.0.0.1", 0), handle)
    async with trio.open_nursery() as nursery:
        running = await nursery.start(functools.partial(compat.serve, server, grace=0))
        async with await trio.open_tcp_stream(*server.server_address[:2]):
            assert await trio.to_thread.run_sync(gate.entered.wait, 20)
            async with await trio.open_tcp_stream(*server.server_address[:2]):
                running.drain()
                await trio.sleep(drain_target.CUT_TIMEOUT * 1.5)
                gate.opened.set()
                with trio.fail_after(20):
                    assert (await running.wait_closed()).drained


async def test_cancelling_it_cancels_its_handlers(raw: Any, capsys: Any) -> None:
    seen: list[BaseException] = []

    class Handler(raw):  # type: ignore[misc]
        def handle(self) -> None:
            try:
                super().handle()
            except BaseException as error:
                seen.append(error)
                raise

    server = compat.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    async with trio.open_nursery() as nursery:
        running = await nursery.start(compat.serve, server)
        stream = await ask(server, b"one")
        nursery.cancel_scope.cancel()
    assert isinstance(seen[0], compat.RequestCut)
    assert "parent" in str(seen[0])
    assert not request_threads()
    assert running.statistics().ended == {Cause.PARENT: 1}
    assert server.fileno() == -1
    await stream.aclose()
    report = await running.wait_closed()
    assert (report.drained, report.cancelled) == (False, 1)


async def test_it_belongs_to_the_drain_scope_around_beside_native_servers(lines: Any) -> None:
    server = compat.ThreadingTCPServer(("127.0.0.1", 0), lines)
    with triosock.DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(compat.serve, server)
            await nursery.start(triosock.serve_tcp, shout, 0)
            stream = await ask(server, b"one\n")
            scope.drain(grace=60)
    assert sorted(name for name, _ in scope.reports)[0] == "ThreadingTCPServer"
    assert all(report.clean for _, report in scope.reports)
    await stream.aclose()


async def test_shutdown_by_somebody_else_ends_it_too(lines: Any) -> None:
    server = compat.ThreadingTCPServer(("127.0.0.1", 0), lines)
    async with trio.open_nursery() as nursery:
        running = await nursery.start(compat.serve, server)
        await trio.to_thread.run_sync(server.shutdown)
        assert (await running.wait_closed()).clean


async def test_what_leaves_serve_forever_leaves_serve_bare(lines: Any) -> None:
    class Server(compat.ThreadingTCPServer):
        def service_actions(self) -> None:
            raise ZeroDivisionError

    server = Server(("127.0.0.1", 0), lines)
    with pytest.raises(ZeroDivisionError):
        await compat.serve(server, poll_interval=0.01)
    assert server.fileno() == -1


async def test_drain_from_a_thread_of_the_program(lines: Any) -> None:
    server = compat.ThreadingTCPServer(("127.0.0.1", 0), lines)
    async with trio.open_nursery() as nursery:
        await nursery.start(compat.serve, server)
        report = await trio.to_thread.run_sync(lambda: compat.drain(server, grace=60))
        assert report.clean


async def test_async_code_of_its_handlers_runs_in_the_callers_trio_run() -> None:
    token = trio.lowlevel.current_trio_token()
    seen: list[bool] = []

    async def where() -> None:
        seen.append(trio.lowlevel.current_trio_token() is token)

    server = compat.ThreadingTCPServer(("127.0.0.1", 0), lambda *args: compat.run(where))
    async with trio.open_nursery() as nursery:
        running = await nursery.start(compat.serve, server)
        stream = await trio.open_tcp_stream(*server.server_address)
        assert await stream.receive_some() == b""
        running.drain()
        await stream.aclose()
    assert seen == [True]


async def test_one_server_is_served_once(lines: Any) -> None:
    server = compat.ThreadingTCPServer(("127.0.0.1", 0), lines)
    async with trio.open_nursery() as nursery:
        running = await nursery.start(compat.serve, server)
        with pytest.raises(RuntimeError, match="served already"):
            await compat.serve(server)
        running.drain()


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
async def test_cancelled_with_child_processes(raw: Any) -> None:
    server = compat.ForkingTCPServer(("127.0.0.1", 0), raw)
    async with trio.open_nursery() as nursery:
        running = await nursery.start(compat.serve, server)
        stream = await ask(server, b"one")
        nursery.cancel_scope.cancel()
    assert not server.active_children
    await stream.aclose()
    assert (await running.wait_closed()).cancelled == 1
    assert running.statistics().ended == {Cause.PARENT: 1}


async def test_an_error_of_server_close_leaves_nothing_behind(lines: Any) -> None:
    class Server(compat.ThreadingTCPServer):
        def server_close(self) -> None:
            super().server_close()
            raise OSError("the disk is full")

    server = Server(("127.0.0.1", 0), lines)
    errors: list[BaseException] = []

    async def serve(task_status: trio.TaskStatus[compat.CompatServer]) -> None:
        try:
            await compat.serve(server, task_status=task_status)
        except OSError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        running = await nursery.start(serve)
        running.drain()
        with trio.fail_after(20):
            await running.wait_closed()
    assert [str(error) for error in errors] == ["the disk is full"]
    assert trio_thread.host_for(server) is None
    assert request_table_of(server).served is None
    assert not running.statistics().draining


async def test_a_child_that_somebody_else_has_reaped_is_not_killed(monkeypatch: Any) -> None:
    deaf = [sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); print(); signal.pause()"]
    monkeypatch.setattr(drain_target, "CUT_TIMEOUT", 0.5)
    with (
        subprocess.Popen(deaf, stdout=subprocess.PIPE) as first,
        subprocess.Popen(["sleep", "600"]) as second,
        subprocess.Popen(deaf, stdout=subprocess.PIPE) as third,
        compat.ForkingTCPServer(("127.0.0.1", 0), print) as server,
    ):
        for process in (first, third):
            assert process.stdout is not None
            await trio.to_thread.run_sync(process.stdout.readline)
        vars(server)["active_children"] = {first.pid, second.pid, third.pid}
        target = drain_target.DrainTarget(server, request_table_of(server), triosock.DrainScope(grace=0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(target.end_children, Cause.DRAIN)
            await trio.to_thread.run_sync(second.wait)
        vars(server)["active_children"] = None
        assert [await trio.to_thread.run_sync(one.wait) for one in (first, second, third)] == [-9, -15, -9]
