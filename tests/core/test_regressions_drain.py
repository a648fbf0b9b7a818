"""Bugs that were found by reading: what a drain owes to whom, and when a server is over."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import triosock
from tests.core.test_tls import client_context, server_context
from tests.handlers import shout
from triosock import Limits, TcpAddress
from triosock._core.model import events
from triosock.testing import MemoryListener, open_server

pytestmark = pytest.mark.usefixtures("no_leaks")


class ForeignListener(trio.abc.Listener):
    """One that is not ours: it can only be closed asynchronously."""

    def __init__(self, *, fails: bool = False) -> None:
        self.closed = False
        self._fails = fails

    async def accept(self):
        await trio.sleep_forever()

    async def aclose(self):
        self.closed = True
        if self._fails:
            raise ValueError("planned")
        await trio.lowlevel.checkpoint()


async def test_a_listener_of_another_make_is_closed_when_the_drain_begins_and_not_at_its_end(autojump_clock):
    foreign, ours = ForeignListener(), MemoryListener()

    async def handler(conn):
        await trio.sleep(1)
        seen.append(foreign.closed)

    seen = []
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: triosock.serve_listeners(handler, [foreign, ours], task_status=task_status)
        )
        async with await ours.connect():
            await trio.testing.wait_all_tasks_blocked()
            server.drain()
            await server.wait_closed()
    assert seen == [True]


async def test_a_server_is_closed_when_a_listener_cannot_be_closed_and_the_others_are():
    first, failing, last = ForeignListener(), ForeignListener(fails=True), ForeignListener()
    servers = []

    async def serve(*, task_status):
        with pytest.raises(ValueError, match="planned"):
            await triosock.serve_listeners(shout, [first, failing, last], task_status=task_status)

    async with trio.open_nursery() as nursery:
        servers.append(await nursery.start(serve))
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        report = await servers[0].wait_closed()
    assert not report.drained
    assert first.closed
    assert last.closed


@pytest.mark.parametrize("overflow", ["wait", "handler"])
async def test_who_comes_out_of_the_queue_and_is_one_too_many_for_its_peer_is_in_the_report(overflow):
    async def turn_away(conn):
        await conn.send_all(b"full")

    limits = Limits(max_connections_per_peer=1, overflow=turn_away if overflow == "handler" else "wait")
    async with open_server(shout, limits=limits) as served:
        served.server.suspend()
        clients = [await served.connect(peer=TcpAddress("192.0.2.1", port)) for port in (1, 2, 3)]
        for client in clients:
            await client.send_eof()
        served.server.drain()
        report = await served.server.wait_closed()
    expected = (3, 0) if overflow == "handler" else (1, 2)
    assert (report.finished, report.refused) == expected
    assert served.server.statistics().refused == {"peer": 2}


async def test_who_is_in_its_handshake_when_the_drain_begins_is_served_like_those_in_the_queue(
    autojump_clock,
):
    async with open_server(shout, tls=server_context()) as served:
        client = await served.connect()
        await trio.testing.wait_all_tasks_blocked()
        served.server.drain(grace=10)
        await client.start_tls(client_context(), server_side=False, server_hostname="localhost")
        await trio.sleep(1)
        await client.send_all(b"hello\n")
        assert await client.receive_until(b"\n") == b"HELLO\n"
        assert await client.receive_some() == b""
        await client.aclose()
        report = await served.server.wait_closed()
    assert (report.finished, report.clean) == (1, True)


async def test_the_last_event_comes_when_no_task_of_the_server_is_left():
    tasks = []

    class Counting:
        def on_event(self, event: triosock.Event, /) -> None:
            if isinstance(event, events.ServerClosed):
                nursery = servers[0]._connections
                tasks.append(len(nursery.child_tasks))

    servers = []

    async with trio.open_nursery() as nursery:
        servers.append(
            await nursery.start(
                lambda task_status: triosock.serve_listeners(
                    shout, [MemoryListener()], task_status=task_status, observers=[Counting()]
                )
            )
        )
        servers[0].drain()
        await servers[0].wait_closed()
    assert tasks == [0]
