"""Drain and cancel: what had arrived is served, what is late is counted, and nothing is left."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

import triosock
from tests.datagrams.serving import Held, send_all, settle
from tests.datagrams.sessions import Log
from tests.servers import drained
from triosock import Cause, Limits
from triosock._core.model import events


async def test_a_drain_serves_what_had_arrived_and_lets_it_answer(in_memory, recorder):
    held = Held()
    async with in_memory(held, observers=[recorder]) as (server, network):
        client = network.open("client")
        await send_all(client, server, b"begun")
        client.send_nowait(b"queued", server.addresses[0], None)
        server.drain(grace=60)
        assert server.draining
        await settle()
        await send_all(client, server, b"late")
        assert held.begun == [b"begun", b"queued"]
        assert server.statistics().dropped == {"late": 1}
        held.release.set()
        assert sorted([(await client.receive())[0] for _ in range(2)]) == [b"done begun", b"done queued"]
        report = await server.wait_closed()
        assert (report.finished, report.cancelled, report.refused, report.clean) == (2, 0, 0, True)
        kinds = [events.RequestFinished, events.ListenerClosed, events.DrainFinished, events.ServerClosed]
        assert [type(event) for event in recorder.events][-4:] == kinds


async def test_a_drain_also_serves_what_waits_in_line(in_memory):
    held = Held()
    async with in_memory(held, limits=Limits(max_connections=1)) as (server, network):
        await send_all(network.open(), server, b"1", b"2", b"3")
        server.drain()
        await settle()
        held.release.set()
        report = await server.wait_closed()
        assert (report.finished, report.clean) == (3, True)


async def test_at_the_deadline_the_busy_are_cut_and_what_waits_is_dropped(in_memory, autojump_clock):
    held = Held()
    async with in_memory(held, limits=Limits(max_connections=1)) as (server, network):
        client = network.open("client")
        await send_all(client, server, b"1", b"2", b"3")
        report = await drained(server, grace=5)
        assert held.begun == [b"1"]
        assert (report.cancelled, report.refused, report.duration) == (1, 2, 5.0)
        assert report.causes == {Cause.DRAIN: 1}
        assert report.slowest[0].peer == client.address
        assert server.statistics().dropped == {"drain": 2}


async def test_what_comes_at_the_very_end_is_counted_too(in_memory):
    async def handler(datagram):
        pass

    async with in_memory(handler) as (server, network):
        client = network.open("client")
        server.drain()
        await settle()
        assert (await server.wait_closed()).clean
        await client.send(b"too late", server.addresses[0])
        assert network.undeliverable == 1


async def test_cancelled_everything_ends_and_is_counted(in_memory):
    held = Held()
    async with in_memory(held, limits=Limits(max_connections=1)) as (server, network):
        client = network.open("client")
        await send_all(client, server, b"1", b"2")
        client.send_nowait(b"in the queue", server.addresses[0], None)
    s = server.statistics()
    assert (s.received, s.handled, s.dropped) == (3, 1, {"closed": 2})
    report = await server.wait_closed()
    assert (report.drained, report.cancelled) == (False, 1)


async def test_cancelled_even_what_it_had_not_received_is_counted(in_memory):
    held = Held()
    async with in_memory(held) as (server, network):
        await settle()
        server.suspend()
        client = network.open("client")
        await send_all(client, server, b"wakes the loop, which then finds itself shut", b"waits")
        assert server.statistics().received == 0
    assert server.statistics().dropped == {"closed": 2}


async def test_a_reply_after_the_end_says_so(in_memory):
    kept = []

    async def handler(datagram):
        kept.append(datagram)

    async with in_memory(handler) as (server, network):
        await send_all(network.open("client"), server, b"1")
    with pytest.raises(
        trio.ClosedResourceError, match="nothing can be sent to memory://client: the server has ended"
    ):
        await kept[0].reply(b"too late")


async def test_suspended_it_receives_nothing_until_it_resumes(in_memory, recorder):
    held = Held()
    async with in_memory(held, observers=[recorder]) as (server, network):
        await settle()
        server.suspend()
        client = network.open("client")
        await send_all(client, server, b"wakes the loop, which then finds itself shut", b"waits")
        assert server.statistics().suspended
        assert held.begun == []
        server.resume()
        await settle()
        assert len(held.begun) == 2
        assert recorder.of(events.ServerSuspended)
        assert recorder.of(events.ServerResumed)


async def test_suspended_and_drained_what_waits_is_served(in_memory):
    held = Held(released=True)
    async with in_memory(held) as (server, network):
        server.suspend()
        await send_all(network.open("client"), server, b"1")
        assert (await drained(server)).finished == 1


async def test_a_drain_scope_around_drains_it():
    held = Held()
    network = triosock.testing.DatagramNetwork()
    sock = network.open("server")
    with triosock.DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(triosock.serve_datagram_sockets, held, [sock])
            scope.drain(grace=0)
            await server.wait_closed()
    assert [name for name, _ in scope.reports] == ["memory://server"]


async def test_it_ends_when_somebody_else_closes_its_socket(in_memory):
    async with in_memory(Held(released=True)) as (server, _):
        await settle()
        server._listeners[0].close()
        assert (await server.wait_closed()).drained


async def test_cancelled_at_every_checkpoint_nothing_is_left():
    from triosock.testing import DatagramNetwork, cancel_at_every_checkpoint, watch

    async def scenario():
        network = DatagramNetwork()
        sock, client = network.open("server"), network.open("client")

        async def handler(datagram):
            await trio.lowlevel.checkpoint()
            await datagram.reply(datagram.data)

        limits = Limits(max_connections=1, max_pending_datagrams=3)
        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                partial(triosock.serve_datagram_sockets, handler, [sock], limits=limits)
            )
            watch(server)
            try:
                for _ in range(4):
                    client.send_nowait(b"x", server.addresses[0], None)
                await client.receive()
                server.drain(grace=1)
                client.send_nowait(b"late", server.addresses[0], None)
                await server.wait_closed()
            finally:
                client.close()
                server._queue.check()
        server._queue.check()

    assert await cancel_at_every_checkpoint(scenario) > 5


async def test_a_session_that_lost_what_it_had_to_the_bound_ends_all_the_same(in_memory, autojump_clock):
    log = Log()
    limits = Limits(max_pending_datagrams=2, drop="oldest")
    async with in_memory(log, sessions=triosock.Sessions(), limits=limits) as (server, network):
        one, other = network.open("one"), network.open("other")
        for client in (one, other):
            await send_all(client, server, b"first")
        for client in (one, other):
            await send_all(client, server, b"second")
        server.drain(grace=60)
        await settle()
        await send_all(other, server, b"third")  # takes the place of the second of the other session
        assert server.statistics().dropped == {"full": 1}
        log.go.set()
        report = await server.wait_closed()
        assert log.got == {"one": [b"first"], "other": [b"first", b"second"]}
        assert (report.finished, report.clean) == (2, True)
        assert trio.current_time() < 60
