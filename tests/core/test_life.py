"""The life of a server: accepting and serving are apart; the report, causes, suspension."""

from __future__ import annotations

import errno

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import ask, read_all, read_to_reset, shout
from tests.servers import drained, running
from tests.waiting import takes, until, until_arrived, until_ended, until_served
from triosock import Cause, DrainReport, Timeouts
from triosock._core.model import events

pytestmark = pytest.mark.usefixtures("no_leaks")


# Accepting and serving are apart


async def test_a_drain_stops_accepting_while_connections_go_on(serving, dial):
    release = trio.Event()

    async def handler(conn):
        await conn.receive_some()
        await release.wait()
        await conn.send_all(b"done")

    async with serving(handler) as server, await dial(server) as client:
        await client.send_all(b"x")
        await until_served(server)
        server.drain(grace=60)
        await until(lambda: server._listeners[0].is_closed)
        with pytest.raises(OSError, match="all attempts to connect"):
            await dial(server)
        release.set()
        assert await read_all(client) == b"done"
        await client.aclose()
        report = await server.wait_closed()
        assert (report.finished, report.cancelled, report.clean) == (1, 0, True)


async def test_cancelling_ends_everything_now_and_closes_it(serving, dial, recorder):
    stopped = []

    async def handler(conn):
        try:
            await conn.receive_some()
        finally:
            stopped.append(conn.id)

    async with serving(handler, observers=[recorder]) as server:
        clients = [await dial(server) for _ in range(3)]
        await until_served(server, 3)
    assert sorted(stopped) == [1, 2, 3]
    assert {event.cause for event in recorder.of(events.ConnectionClosed)} == {Cause.PARENT}
    assert recorder.of(events.ServerClosed)
    report = await server.wait_closed()
    assert (report.drained, report.cancelled) == (False, 3)
    for client in clients:
        await client.aclose()


async def test_the_server_ends_with_a_drain_if_somebody_closes_its_listeners(dial):
    listeners = await triosock.open_tcp_listeners(0, host="127.0.0.1")
    async with running(triosock.serve_listeners, shout, listeners) as server, await dial(server) as client:
        assert await ask(client, b"a\n") == b"A\n"
        listeners[0].close()
        assert await client.receive_some() == b""
        await client.aclose()
        assert (await server.wait_closed()).finished == 1


# The report, and causes


async def test_the_report_names_the_slowest_and_where_they_were(serving, dial, autojump_clock):
    async def stuck_in_here():
        await trio.sleep_forever()

    async def handler(conn):
        async for _ in conn.lines():
            await stuck_in_here()

    async with serving(handler) as server, await dial(server) as client:
        await client.send_all(b"x\n")
        await until_arrived(lambda: server.statistics().received == 2)
        await trio.sleep(2)
        report = await drained(server, grace=1)
        (straggler,) = report.slowest
        assert str(straggler.peer) == "tcp://{}:{}".format(*client.socket.getsockname())
        assert straggler.age == pytest.approx(3, abs=0.1)
        assert straggler.phase == "working"
        assert any("stuck_in_here" in line for line in straggler.stack)
        assert report.causes == {Cause.DRAIN: 1}
        assert "1 cancelled" in str(report)
        assert str(straggler.peer) in str(report)


async def test_serve_returns_the_report(dial):
    reports = []
    async with trio.open_nursery() as nursery:

        async def serve(task_status):
            reports.append(await triosock.serve_tcp(shout, 0, host="127.0.0.1", task_status=task_status))

        server = await nursery.start(serve)
        server.drain()
    assert reports == [await server.wait_closed()]
    assert reports[0].clean
    assert isinstance(reports[0], DrainReport)


@pytest.mark.parametrize(
    ("timeouts", "send", "cause", "read"),
    [
        (Timeouts(idle=2), b"", Cause.IDLE, read_all),
        (Timeouts(request=2), b"x", Cause.REQUEST, read_to_reset),  # in the middle of something
        (Timeouts(idle=2), b"x", Cause.IDLE, read_to_reset),
    ],
)
async def test_a_timeout_names_its_cause_everywhere(
    serving, dial, autojump_clock, recorder, timeouts, send, cause, read
):
    async with serving(shout, timeouts=timeouts, observers=[recorder]) as server:
        client = await dial(server)
        await client.send_all(send)
        with takes(2, abs=0.1):
            assert await read(client) == b""
        await client.aclose()
        assert await until_ended(server) == {cause: 1}
    assert [event.cause for event in recorder.of(events.ConnectionClosed)] == [cause]


async def test_a_cut_handler_is_cancelled_with_the_cause_as_trios_reason(serving, dial, autojump_clock):
    reasons = []

    async def handler(conn):
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(cancelled.reason)
            raise

    async with serving(handler) as server, await dial(server):
        await until_served(server)
        await drained(server, grace=1)
    assert reasons == ["triosock: drain deadline"]


async def test_suspend_lets_newcomers_wait_and_resume_serves_them(serving, dial, recorder):
    async with serving(shout, observers=[recorder]) as server, await dial(server) as before:
        assert await ask(before, b"a\n") == b"A\n"
        server.suspend()
        server.suspend()
        await trio.testing.wait_all_tasks_blocked(0.01)
        waiting = await dial(server)
        await waiting.send_all(b"b\n")
        assert await ask(before, b"c\n") == b"C\n"
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().accepted == 1
        assert server.statistics().suspended
        server.resume()
        assert await waiting.receive_some() == b"B\n"
        for stream in (before, waiting):
            await stream.aclose()
    assert len(recorder.of(events.ServerSuspended)) == 1
    assert len(recorder.of(events.ServerResumed)) == 1


async def test_one_port_serves_both_families(serving):
    async with serving(shout, host=None) as server:
        (port,) = {address.port for address in server.addresses}
        for host in ("127.0.0.1", "::1"):
            async with await trio.open_tcp_stream(host, port) as client:
                assert await ask(client, b"hi\n") == b"HI\n"


async def test_a_unix_server_removes_its_file(path, dial):
    async with running(triosock.serve_unix, shout, path) as server:
        async with await dial(server) as client:
            assert await ask(client, b"hi\n") == b"HI\n"
        await drained(server)
        assert not path.exists()


async def test_an_address_in_use_is_refused_and_leaves_nothing_open(serving):
    async with serving(shout) as server:
        with pytest.raises(triosock.AddressUnavailable, match="another program listens there") as caught:
            await triosock.serve_tcp(shout, server.addresses[0].port, host="127.0.0.1")
        assert caught.value.errno == errno.EADDRINUSE


async def test_a_stack_shows_the_handlers_own_calls_and_neither_ours_nor_trios(serving, dial, autojump_clock):
    async def handler(conn):
        await conn.receive_some()

    async with serving(handler) as server, await dial(server):
        await until_served(server)
        (straggler,) = (await drained(server, grace=1)).slowest
        (only,) = straggler.stack
        assert only.endswith("in handler")
        assert __file__ in only
        assert str(straggler).endswith(only)
