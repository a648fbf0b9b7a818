"""The life of a server: limits hold before it accepts."""

from __future__ import annotations

import contextlib
import socket

import pytest
import trio
import trio.testing

from tests.handlers import ask, read_all, read_once, say_hello_and_wait, says, shout
from tests.servers import drained
from tests.waiting import until, until_served
from triosock import Cause, Limits, TcpAddress
from triosock._core.model import events
from triosock.testing import open_server

pytestmark = pytest.mark.usefixtures("no_leaks")


async def dial_from(server, source):
    sock = trio.socket.socket()
    await sock.bind((source, 0))
    await sock.connect(("127.0.0.1", server.addresses[0].port))
    return trio.SocketStream(sock)


async def test_beyond_the_limit_clients_wait_in_the_kernel_in_order(serving, dial):
    async def handler(conn):
        await conn.send_all(b"%d" % conn.id)
        await conn.receive_some()

    async with serving(handler, limits=Limits(max_connections=1)) as server:
        first, second, third = [await dial(server) for _ in range(3)]
        assert await first.receive_some() == b"1"
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().accepted == 1
        await first.aclose()
        assert await second.receive_some() == b"2"
        assert server.statistics().active == 1
        await second.aclose()
        assert await third.receive_some() == b"3"
        await third.aclose()
        assert server.statistics().peak == 1


async def test_overflow_reject_closes_the_one_too_many(serving, dial, recorder):
    limits = Limits(max_connections=1, overflow="reject")
    async with serving(read_once, limits=limits, observers=[recorder]) as server:
        first = await dial(server)
        await until_served(server)
        second = await dial(server)
        assert await second.receive_some() == b""
        assert server.statistics().refused == {"connections": 1}
        assert [event.reason for event in recorder.of(events.Refused)] == ["connections"]
        await first.aclose()
        await second.aclose()


async def test_an_overflow_handler_may_say_something_first(serving, dial, recorder):
    limits = Limits(max_connections=1, overflow=says(b"busy, come back later\n"))
    async with serving(read_once, limits=limits, observers=[recorder]) as server:
        first = await dial(server)
        await until_served(server)
        second = await dial(server)
        assert await read_all(second) == b"busy, come back later\n"
        await second.aclose()
        await until(lambda: recorder.of(events.ConnectionClosed))
        assert [event.cause for event in recorder.of(events.ConnectionClosed)] == [Cause.OVERFLOW]
        assert server.statistics().active == 1
        await first.aclose()


async def test_a_peer_over_its_limit_is_refused_and_others_are_not(serving):
    async with serving(say_hello_and_wait, limits=Limits(max_connections_per_peer=1)) as server:
        one = await dial_from(server, "127.0.0.1")
        assert await one.receive_some() == b"hello"
        two = await dial_from(server, "127.0.0.1")
        assert await two.receive_some() == b""
        other = await dial_from(server, "127.0.0.2")
        assert await other.receive_some() == b"hello"
        await one.aclose()
        await until(lambda: server.statistics().active == 1)  # the one from 127.0.0.2
        again = await dial_from(server, "127.0.0.1")
        assert await again.receive_some() == b"hello"
        assert server.statistics().refused == {"peer": 1}
        for stream in (two, other, again):
            await stream.aclose()


async def test_a_network_over_its_limit_is_refused(serving):
    limits = Limits(max_connections_per_network=2, network_prefix=(16, 56))
    async with serving(say_hello_and_wait, limits=limits) as server, contextlib.AsyncExitStack() as streams:
        answers = []
        for source in ("127.0.0.1", "127.0.1.1", "127.0.2.1", "127.1.0.1"):
            stream = await streams.enter_async_context(await dial_from(server, source))
            answers.append(await stream.receive_some())
        assert answers == [b"hello", b"hello", b"", b"hello"]


@pytest.mark.parametrize("overflow", ["wait", "handler"])
async def test_who_comes_out_of_the_queue_and_is_one_too_many_for_its_peer_is_in_the_report(overflow):
    limits = Limits(max_connections_per_peer=1, overflow=says(b"full") if overflow == "handler" else "wait")
    async with open_server(shout, limits=limits) as served:
        served.server.suspend()
        clients = [await served.connect(peer=TcpAddress("192.0.2.1", port)) for port in (1, 2, 3)]
        for client in clients:
            await client.send_eof()
        report = await drained(served.server)
    expected = (3, 0) if overflow == "handler" else (1, 2)
    assert (report.finished, report.refused) == expected
    assert served.server.statistics().refused == {"peer": 2}


async def test_limits_per_peer_need_no_unix_sockets(serving, dial, monkeypatch):
    for name in ("AF_UNIX", "SO_PEERCRED"):  # as on Windows
        monkeypatch.delattr(socket, name)
    async with serving(shout, limits=Limits(max_connections_per_peer=2)) as server:
        client = await dial(server)
        assert await ask(client, b"a\n") == b"A\n"
        await client.aclose()
