"""Sessions: one task per peer, in order, ended by idleness, a drain, or its own return. Virtual time."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

import triosock
from tests.datagrams.serving import send_all
from tests.datagrams.sessions import Log, echo, receive, settle
from tests.servers import drained
from triosock import Cause, Limits, Sessions, Timeouts
from triosock._core.model import events


async def test_each_peer_has_a_task_and_its_order(in_memory, recorder):
    seen = []

    async def handler(session):
        seen.append(session)
        await echo(session)

    async with in_memory(handler, sessions=Sessions(), observers=[recorder]) as (server, network):
        a, b = network.open("a"), network.open("b")
        for number in range(20):
            await a.send(b"a%d" % number, server.addresses[0])
            await b.send(b"b%d" % number, server.addresses[0])
        assert await receive(a, 20) == [b"a%d" % number for number in range(20)]
        assert await receive(b, 20) == [b"b%d" % number for number in range(20)]
        await settle()
        assert len(seen) == 2
        session = next(one for one in seen if one.id == 1)
        assert (session.peer, session.local) == (a.address, server.addresses[0])
        assert (session.server, session.dropped, session.taken, session.draining) == (server, 0, 20, False)
        assert "memory://a" in repr(session)
        s = server.statistics()
        assert (s.active, s.idle, s.received, s.handled, s.sent) == (2, 2, 40, 40, 40)
        assert {event.peer for event in recorder.of(events.ConnectionOpened)} == {a.address, b.address}
        assert len(recorder.of(events.RequestStarted)) == 40


async def test_idle_sessions_end_and_come_back(in_memory, recorder, autojump_clock):
    log = Log(released=True)
    async with in_memory(log, sessions=Sessions(idle=10), observers=[recorder]) as (server, network):
        a, b = network.open("a"), network.open("b")
        await a.send(b"1", server.addresses[0])
        await trio.sleep(6)
        await b.send(b"1", server.addresses[0])
        await a.send(b"2", server.addresses[0])
        await trio.sleep(9.9)
        assert log.ended == []
        await a.send(b"3", server.addresses[0])
        await trio.sleep(0.2)
        assert log.ended == ["b"]
        await trio.sleep(20)
        assert log.ended == ["b", "a"]
        assert [event.cause for event in recorder.of(events.ConnectionClosed)] == [Cause.IDLE] * 2
        await a.send(b"4", server.addresses[0])
        await trio.sleep(1)
        assert log.got == {"a": [b"1", b"2", b"3", b"4"], "b": [b"1"]}
        assert server.statistics().active == 1
    assert server.statistics().ended == {Cause.IDLE: 2, Cause.PARENT: 1}


async def test_without_idle_time_they_stay(in_memory, autojump_clock):
    log = Log(released=True)
    async with in_memory(log, sessions=Sessions(idle=math.inf)) as (server, network):
        await network.open("a").send(b"1", server.addresses[0])
        await trio.sleep(1e6)
        assert log.ended == []


async def test_a_wait_in_the_middle_of_an_exchange_is_cut_when_idle(in_memory, autojump_clock):
    async def handler(session):
        await session.receive()
        await session.receive()

    async with in_memory(handler, sessions=Sessions(idle=10)) as (server, network):
        await network.open("a").send(b"1", server.addresses[0])
        await trio.sleep(9)
        assert server.statistics().idle == 0
        await trio.sleep(2)
        assert server.statistics().ended == {Cause.IDLE: 1}


async def test_a_session_that_fails_costs_itself(in_memory, recorder):
    async def handler(session):
        async for data in session:
            raise ValueError(data.decode())

    async with in_memory(handler, sessions=Sessions(), observers=[recorder]) as (server, network):
        await send_all(network.open("a"), server, b"1")
        assert [str(event.error) for event in recorder.of(events.HandlerFailed)] == ["1"]
        assert server.statistics().ended == {Cause.FAILED: 1}


async def test_the_work_on_one_datagram_is_bounded_by_the_request_timeout(
    in_memory, recorder, autojump_clock
):
    async def handler(session):
        async for data in session:
            await trio.sleep(float(data))

    options = {"sessions": Sessions(), "timeouts": Timeouts(request=5), "observers": [recorder]}
    async with in_memory(handler, **options) as (server, network):
        client = network.open("a")
        await client.send(b"4", server.addresses[0])
        await trio.sleep(100)
        await client.send(b"4", server.addresses[0])
        await trio.sleep(100)
        assert server.statistics().active == 1
        await client.send(b"6", server.addresses[0])
        await trio.sleep(100)
        assert server.statistics().ended == {Cause.REQUEST: 1}
        assert [event.duration for event in recorder.of(events.RequestFinished)] == [4.0, 4.0, 5.0]


async def test_who_still_receives_when_the_handler_has_returned_is_told(in_memory, autojump_clock):
    raised = []

    async def go_on(call):
        with pytest.raises(trio.ClosedResourceError, match="its handler has returned") as found:
            await call()
        raised.append(found.value)

    async def iterate(session):
        async for _ in session:
            pass

    async with trio.open_nursery() as outside:

        async def handler(session):
            await session.receive()
            # One waits when the handler returns, the others begin later.
            outside.start_soon(go_on, session.receive if session.peer.name == "a" else session.__anext__)
            await trio.sleep(1)
            sessions.append(session)

        sessions = []
        async with in_memory(handler, sessions=Sessions(max=2, when_full="evict")) as (server, network):
            for name in ("a", "b"):
                await send_all(network.open(name), server, b"1")
            await trio.sleep(2)
            assert len(raised) == 2
            # No place is expected from one that has ended.
            assert server.statistics().active == 0
            await go_on(sessions[0].receive)
        await go_on(sessions[0].receive)
        await go_on(lambda: iterate(sessions[1]))
    assert len(raised) == 5


async def test_an_iteration_that_a_drain_was_to_end_just_ends_though_the_handler_has_left_datagrams(
    in_memory,
):
    sessions = []

    async def handler(session):
        sessions.append(session)
        await session.receive()
        await triosock.wait_draining()
        await settle()
        assert session.draining

    async with in_memory(handler, sessions=Sessions()) as (server, network):
        await send_all(network.open("a"), server, b"1", b"2")
        await drained(server)
    assert [data async for data in sessions[0]] == []


async def test_two_tasks_cannot_receive_at_once(in_memory):
    raised = []

    async def handler(session):
        await session.receive()

        async def second():
            try:
                await session.receive()
            except trio.BusyResourceError as error:
                raised.append(str(error))
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(second)
            nursery.start_soon(second)

    async with in_memory(handler, sessions=Sessions()) as (server, network):
        await send_all(network.open("a"), server, b"1")
        assert raised == ["another task is receiving from this session"]


async def test_truncation_is_visible_in_a_session(in_memory):
    seen = []

    async def handler(session):
        async for data in session:
            assert session.taken == len(seen) + 1
            seen.append((data, session.truncated))

    async with in_memory(handler, sessions=Sessions(), max_bytes=2) as (server, network):
        await send_all(network.open("a"), server, b"123", b"12")
        assert seen == [(b"12", True), (b"12", False)]


async def test_one_peer_that_asks_two_of_our_addresses_has_two_sessions(on_loopback):
    locals_ = []

    async def handler(session):
        async for data in session:
            locals_.append(session.local.host)
            await session.send(data)

    async with on_loopback(handler, host="0.0.0.0", sessions=Sessions()) as server:
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as client:
            for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
                await client.sendto(b"x", (host, server.addresses[0].port))
                assert await client.recvfrom(10) == (b"x", (host, server.addresses[0].port))
        assert locals_ == ["127.0.0.1", "127.0.0.2", "127.0.0.1"]
        assert server.statistics().active == 2


async def test_the_limits_per_peer_count_sessions(on_loopback, udp_client):
    async with on_loopback(echo, sessions=Sessions(), limits=Limits(max_connections_per_peer=1)) as server:
        with (
            udp_client(server) as first,
            udp_client(server) as second,
            udp_client(server, source="127.0.0.9") as other,
        ):
            for client in (first, second, other):
                await client.send(b"x")
            assert await first.recv(10) == b"x"
            assert await other.recv(10) == b"x"
            assert server.statistics().dropped == {"peer": 1}


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"idle": 0}, ValueError, "idle must be a number of seconds above 0"),
        ({"max": 0}, ValueError, "max must be from 1 on"),
        ({"buffer": "x"}, TypeError, "buffer must be an int"),
        ({"when_full": "drop"}, ValueError, "when_full must be 'refuse' or 'evict', not 'drop'"),
    ],
)
def test_wrong_values(options, error, text):
    with pytest.raises(error, match=text):
        Sessions(**options)
