"""Who may come, what is dropped, and what becomes of what is left. In memory, under virtual time."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

import triosock
from tests.datagrams.serving import send_all
from tests.datagrams.sessions import Log, echo, receive, settle
from tests.servers import drained
from triosock import Cause, Limits, Sessions
from triosock._core.datagram.idle_queue import IdleQueue
from triosock._core.datagram.socket import Received
from triosock._core.model import events
from triosock.testing import DatagramNetwork


@pytest.mark.parametrize(("drop", "kept"), [("newest", [b"0", b"1", b"2"]), ("oldest", [b"0", b"8", b"9"])])
async def test_a_full_buffer_drops_and_counts(in_memory, drop, kept):
    log = Log()
    async with in_memory(log, sessions=Sessions(buffer=2), limits=Limits(drop=drop)) as (server, network):
        client = network.open("a")
        await send_all(client, server, b"0")
        await send_all(client, server, *[b"%d" % number for number in range(1, 10)])
        assert server.statistics().dropped == {"buffer": 7}
        assert log.sessions[0].dropped == 7
        log.go.set()
        await settle()
        assert log.got == {"a": kept}


async def test_what_all_sessions_have_waiting_is_bounded_too(in_memory):
    log, limits = Log(), Limits(max_pending_datagrams=8)
    async with in_memory(log, sessions=Sessions(), limits=limits) as (server, network):
        flooder, other = network.open("a"), network.open("b")
        await send_all(flooder, server, *[b"x"] * 50)
        assert server.statistics().dropped["share"] >= 44
        await send_all(other, server, b"1")
        assert log.got["b"] == [b"1"]


async def test_with_all_places_taken_another_peer_is_refused(in_memory, recorder):
    log = Log()
    async with in_memory(log, sessions=Sessions(max=2), observers=[recorder]) as (server, network):
        for name in "abc":
            await send_all(network.open(name), server, b"1")
        assert sorted(log.got) == ["a", "b"]
        assert server.statistics().dropped == {"sessions": 1}
        assert [event.peer.name for event in recorder.of(events.DatagramDropped)] == ["c"]
        assert recorder.of(events.LimitReached)
        log.go.set()


async def test_with_all_places_taken_the_one_that_has_been_idle_for_longest_is_ended(in_memory, recorder):
    log = Log(released=True)
    sessions = Sessions(max=2, when_full="evict")
    async with in_memory(log, sessions=sessions, observers=[recorder]) as (server, network):
        a, b = network.open("a"), network.open("b")
        for client in (a, b, a):
            await send_all(client, server, b"1")
        await send_all(network.open("c"), server, b"1")
        assert log.ended == ["b"]
        assert log.got["c"] == [b"1"]
        assert server.statistics().active == 2
        assert [event.cause for event in recorder.of(events.ConnectionClosed)] == [Cause.OVERFLOW]


async def test_a_place_that_becomes_free_goes_to_who_has_waited_for_it(in_memory):
    """Not to somebody whose datagram comes between the end of the one and the first step of the other."""
    async with in_memory(echo, sessions=Sessions(max=1, when_full="evict")) as (server, network):

        class Intruder:
            wants = (events.ConnectionClosed,)
            arrivals = iter(range(1_000))

            def on_event(self, event):
                arrived = Received(b"x", network.open().address, None, False)
                if next(self.arrivals) % 2 == 0:
                    server._dispatch.deliver(arrived, server._listeners[0])

        server.observers.add(Intruder())
        for _ in range(30):
            await send_all(network.open(), server, b"x")
            s = server.statistics()
            assert (s.active, s.queued, s.idle) == (1, 0, 1)


async def test_busy_sessions_are_not_ended_for_another_peer_and_the_evicted_are_waited_for(in_memory):
    log, goodbye = Log(released=True), trio.Event()

    async def handler(session):
        await log(session)
        await goodbye.wait()

    async with in_memory(handler, sessions=Sessions(max=1, when_full="evict")) as (server, network):
        await send_all(network.open("a"), server, b"1")
        await send_all(network.open("b"), server, b"1")
        s = server.statistics()
        assert (log.ended, s.active, s.queued, s.peak) == (["a"], 1, 1, 1)
        await send_all(network.open("c"), server, b"1")
        assert server.statistics().dropped == {"sessions": 1}
        goodbye.set()
        await settle()
        assert log.got == {"a": [b"1"], "b": [b"1"]}


async def test_a_drain_ends_the_idle_at_once_and_lets_the_busy_finish(in_memory):
    log = Log(released=True)
    async with in_memory(log, sessions=Sessions()) as (server, network):
        busy, idle = network.open("busy"), network.open("idle")
        await send_all(idle, server, b"1")
        log.go = trio.Event()
        await send_all(busy, server, b"1", b"2")
        server.drain(grace=60)
        await settle()
        assert log.ended == ["idle"]
        assert log.sessions[1].draining
        await send_all(busy, server, b"after the drain began")
        await send_all(network.open("new"), server, b"1")
        log.go.set()
        report = await server.wait_closed()
        assert log.got == {"idle": [b"1"], "busy": [b"1", b"2"]}
        assert (report.finished, report.clean) == (2, True)
        assert server.statistics().dropped == {"late": 1, "unread": 1}


async def test_an_exchange_that_goes_on_gets_its_datagrams_in_a_drain(in_memory):
    async def handler(session):
        async for first in session:
            second = await session.receive()
            await session.send(first + second)

    async with in_memory(handler, sessions=Sessions()) as (server, network):
        client = network.open("a")
        await send_all(client, server, b"first ")
        server.drain(grace=60)
        await settle()
        await send_all(client, server, b"second")
        assert await receive(client, 1) == [b"first second"]
        assert (await server.wait_closed()).clean


async def test_a_drain_opens_sessions_for_what_had_arrived(in_memory):
    async with in_memory(echo, sessions=Sessions()) as (server, network):
        client = network.open("a")
        server.drain(grace=60)
        client.send_nowait(b"in the queue", server.addresses[0], None)
        assert await receive(client, 1) == [b"in the queue"]
        assert (await server.wait_closed()).finished == 1


async def test_at_the_deadline_sessions_are_cut(in_memory, autojump_clock):
    log = Log()
    async with in_memory(log, sessions=Sessions(max=1, when_full="evict")) as (server, network):
        await send_all(network.open("a"), server, b"1", b"2")
        report = await drained(server, grace=3)
        assert (report.cancelled, report.duration) == (1, 3.0)
        assert server.statistics().dropped == {"unread": 1}


async def test_one_that_waits_for_a_place_at_the_deadline_is_refused(in_memory, autojump_clock):
    async def handler(session):
        async for _ in session:
            pass
        await trio.sleep_forever()

    async with in_memory(handler, sessions=Sessions(max=1, when_full="evict")) as (server, network):
        await send_all(network.open("a"), server, b"1")
        await send_all(network.open("b"), server, b"1")
        report = await drained(server, grace=3)
        # "a" had been asked to go before the drain, for the sake of "b": that is its cause.
        assert (report.finished, report.refused) == (1, 1)


async def test_what_a_session_leaves_opens_the_next_one(in_memory):
    got = []

    async def handler(session):
        got.append((session.id, await session.receive()))

    async with in_memory(handler, sessions=Sessions()) as (server, network):
        client = network.open("a")
        for number in range(3):
            client.send_nowait(b"%d" % number, server.addresses[0], None)
        await settle()
        assert got == [(1, b"0"), (2, b"1"), (3, b"2")]


async def test_a_handler_that_takes_nothing_is_not_called_for_ever(in_memory):
    calls = []

    async def handler(session):
        calls.append(session.id)

    async with in_memory(handler, sessions=Sessions()) as (server, network):
        client = network.open("a")
        for _ in range(3):
            client.send_nowait(b"x", server.addresses[0], None)
        await settle()
        assert calls == [1, 2, 3]
        assert server.statistics().dropped == {"unread": 3}


async def test_what_a_session_leaves_is_dropped_if_there_is_no_place(in_memory):
    gates = {"a": trio.Event(), "b": trio.Event()}

    async def handler(session):
        async for _ in session:
            await gates[session.peer.name].wait()
            return

    async with in_memory(handler, sessions=Sessions(max=1, when_full="evict")) as (server, network):
        await send_all(network.open("a"), server, b"1", b"2")
        assert server.statistics().pending == 1
        gates["a"].set()
        await settle()
        assert server.statistics().handled == 2


async def test_many_one_shot_peers_leave_nothing_behind(in_memory):
    """What is kept is bounded by `max`, whatever the number of peers that have been."""
    rounds, peers = 20, 100
    async with in_memory(echo, sessions=Sessions(max=50, when_full="evict")) as (server, network):
        for _ in range(rounds):
            clients = [network.open() for _ in range(peers)]
            for client in clients:
                client.send_nowait(b"once", server.addresses[0], None)
            await settle()
            for client in clients:
                client.close()
            dispatch = server._dispatch
            assert len(dispatch._present) <= 50
            assert len(dispatch._idle_queue) <= 50
            assert len(server._registry) <= 50
        s = server.statistics()
        assert s.received == rounds * peers
        assert s.handled >= 50 * rounds - 50


async def test_who_returns_at_once_is_not_kept_until_a_timeout(in_memory):
    async def handler(session):
        await session.receive()

    async with in_memory(handler, sessions=Sessions()) as (server, network):
        for _ in range(200):
            await network.open().send(b"x", server.addresses[0])
        await settle()
        assert (
            len(server._registry) == len(server._dispatch._present) == len(server._dispatch._idle_queue) == 0
        )


async def test_the_idle_queue_asks_only_those_who_are_idle(in_memory):
    async def handler(session):
        await session.receive()
        await session.receive()

    async with in_memory(handler, sessions=Sessions()) as (server, network):
        await send_all(network.open(), server, b"x")
        queue = server._dispatch._idle_queue
        assert len(queue) == 1
        assert queue.longest() is None
    assert IdleQueue(1).longest() is None


async def test_cancelled_at_every_checkpoint_nothing_is_left():
    from triosock.testing import cancel_at_every_checkpoint, watch

    async def scenario():
        network = DatagramNetwork()
        sock, a, b = network.open("server"), network.open("a"), network.open("b")
        sessions = Sessions(max=1, when_full="evict", buffer=2)
        serve = partial(triosock.serve_datagram_sockets, echo, [sock], sessions=sessions)
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve)
            watch(server)
            try:
                a.send_nowait(b"x", server.addresses[0], None)
                await a.receive()
                while not server.statistics().idle:
                    await trio.lowlevel.checkpoint()
                b.send_nowait(b"y", server.addresses[0], None)  # for which "a" must go
                await b.receive()
                a.send_nowait(b"x", server.addresses[0], None)
                await drained(server, grace=1)
            finally:
                a.close()
                b.close()
                server._queue.check()
        server._queue.check()

    assert await cancel_at_every_checkpoint(scenario) > 5
