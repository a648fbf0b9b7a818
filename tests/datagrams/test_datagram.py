"""One task per datagram, with bounds that drop what they must and say so. In memory, under virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.datagrams.serving import Held, send_all, settle
from tests.waiting import until
from triosock import Cause, Limits, Timeouts
from triosock._core.model import events


async def test_each_datagram_gets_a_task_and_a_way_back(in_memory, recorder):
    seen = []

    async def handler(datagram):
        seen.append(datagram)
        await datagram.reply(datagram.data.upper())
        await datagram.reply(memoryview(b"and again"))

    async with in_memory(handler, observers=[recorder]) as (server, network):
        client = network.open("client")
        await client.send(b"hello", server.addresses[0])
        assert await client.receive() == (b"HELLO", server.addresses[0])
        assert (await client.receive())[0] == b"and again"
        (datagram,) = seen
        assert (datagram.data, datagram.truncated, datagram.id) == (b"hello", False, 1)
        assert (datagram.peer, datagram.local) == (client.address, server.addresses[0])
        assert datagram.server is server
        assert not datagram.draining
        assert "5 bytes from memory://client" in repr(datagram)
        await settle()
        s = server.statistics()
        assert (s.received, s.handled, s.sent, s.received_bytes, s.sent_bytes) == (1, 1, 2, 5, 14)
        assert s.ended == {Cause.FINISHED: 1}
        kinds = [events.RequestStarted, events.RequestFinished]
        assert [type(event) for event in recorder.events[1:]] == kinds


async def test_a_cut_datagram_says_so_and_is_counted(in_memory, recorder):
    seen = []

    async def handler(datagram):
        seen.append((datagram.data, datagram.truncated))

    async with in_memory(handler, max_bytes=4, observers=[recorder]) as (server, network):
        await send_all(network.open(), server, b"12345", b"1234")
        assert sorted(seen) == [(b"1234", False), (b"1234", True)]
        assert server.statistics().truncated == 1
        assert [event.size for event in recorder.of(events.DatagramTruncated)] == [4]


async def test_beyond_the_bound_the_newest_is_dropped(in_memory, recorder):
    held, limits = Held(), Limits(max_pending_datagrams=2)
    async with in_memory(held, limits=limits, observers=[recorder]) as (server, network):
        client = network.open("client")
        await send_all(client, server, b"1", b"2", b"3", b"4")
        assert sorted(held.begun) == [b"1", b"2"]
        assert server.statistics().dropped == {"full": 2}
        await send_all(network.open("other"), server, b"5")
        assert server.statistics().dropped == {"full": 3}
        assert [str(event.peer) for event in recorder.of(events.DatagramDropped)] == [
            "memory://client"
        ] * 2 + ["memory://other"]
        held.release.set()
        assert sorted([(await client.receive())[0] for _ in range(2)]) == [b"done 1", b"done 2"]
        await send_all(client, server, b"6")
        assert held.begun[-1] == b"6", "places are given back"


async def test_with_fewer_slots_the_rest_waits_in_line_and_keeps_its_order(in_memory):
    held = Held(released=True)
    async with in_memory(held, limits=Limits(max_connections=1)) as (server, network):
        client = network.open("client")
        await send_all(client, server, *[b"%d" % number for number in range(10)])
        assert held.begun == [b"%d" % number for number in range(10)]
        assert server.statistics().peak == 1


async def test_oldest_the_line_keeps_what_is_fresh(in_memory):
    held = Held()
    limits = Limits(max_connections=1, max_pending_datagrams=4, drop="oldest")
    async with in_memory(held, limits=limits) as (server, network):
        client = network.open("client")
        await send_all(client, server, b"0")
        await send_all(client, server, *[b"%d" % number for number in range(1, 10)])
        s = server.statistics()
        assert (s.active, s.queued, s.pending, s.dropped) == (1, 2, 2, {"share": 7})
        held.release.set()
        await settle()
        assert held.begun == [b"0", b"8", b"9"]


async def test_oldest_one_whose_task_was_told_to_start_is_not_begun(in_memory):
    held = Held(released=True)
    limits = Limits(max_pending_datagrams=1, drop="oldest")
    async with in_memory(held, limits=limits) as (server, network):
        client = network.open("client")
        for number in range(5):  # in one batch: no task runs in between
            client.send_nowait(b"%d" % number, server.addresses[0], None)
        await settle()
        assert held.begun == [b"4"]
        assert server.statistics().dropped == {"full": 4}


@pytest.mark.parametrize("drop", ["newest", "oldest"])
async def test_a_flood_from_one_peer_and_others_still_get_served(in_memory, drop):
    held = Held()
    async with in_memory(held, limits=Limits(max_pending_datagrams=16, drop=drop)) as (server, network):
        flooder = network.open("flooder")
        await send_all(flooder, server, *[b"flood"] * 200)
        assert held.begun == [b"flood"] * 9
        for number in range(3):
            await send_all(network.open(), server, b"quiet %d" % number)
        await send_all(flooder, server, *[b"flood"] * 50)
        assert held.begun[9:] == [b"quiet 0", b"quiet 1", b"quiet 2"]
        assert server.statistics().dropped == {"share": 241}


@pytest.mark.parametrize("limit", ["peer", "network"])
async def test_the_limits_per_peer_and_network_hold_for_handlers_too(on_loopback, udp_client, limit):
    held = Held()
    limits = Limits(**{f"max_connections_per_{limit}": 1})
    async with on_loopback(held, limits=limits) as server:
        with udp_client(server) as first, udp_client(server, source="127.0.0.9") as second:
            await first.send(b"1")
            await first.send(b"2")
            await until(lambda: server.statistics().received == 2)
            await second.send(b"3")
            await until(lambda: server.statistics().received == 3)
            await settle()
            assert held.begun == ([b"1", b"3"] if limit == "peer" else [b"1"])
            assert server.statistics().dropped == {limit: 1 if limit == "peer" else 2}


# Handlers that fail


async def test_a_handler_that_raises_costs_its_own_datagram(in_memory, recorder, caplog):
    async def handler(datagram):
        if datagram.data == b"bad":
            raise ValueError("what is this?")
        await datagram.reply(b"fine")

    async with in_memory(handler, observers=[recorder]) as (server, network):
        client = network.open("client")
        await send_all(client, server, b"bad", b"good")
        assert (await client.receive())[0] == b"fine"
        (failed,) = recorder.of(events.HandlerFailed)
        assert (str(failed.error), failed.peer) == ("what is this?", client.address)
        assert server.statistics().ended == {Cause.FAILED: 1, Cause.FINISHED: 1}
    assert "handler failed" in caplog.text


async def test_on_error_as_a_function_is_told_the_datagram(in_memory):
    told = []

    async def handler(datagram):
        raise ValueError("x")

    async def on_error(error, datagram):
        told.append((str(error), datagram.data))
        await datagram.reply(b"sorry")

    async with in_memory(handler, on_error=on_error) as (server, network):
        client = network.open("client")
        await client.send(b"1", server.addresses[0])
        assert (await client.receive())[0] == b"sorry"
        assert told == [("x", b"1")]


async def test_on_error_raise_ends_the_server_and_drops_what_waits(in_memory):
    async def handler(datagram):
        await trio.lowlevel.checkpoint()
        raise ValueError("enough")

    limits = Limits(max_connections=1)
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="enough"), flatten_subgroups=True):
        async with in_memory(handler, on_error="raise", limits=limits) as (server, network):
            await send_all(network.open(), server, b"1", b"2", b"3")
            await trio.sleep_forever()
    s = server.statistics()
    assert s.handled + sum(s.dropped.values()) == 3
    assert s.dropped["closed"] >= 1
    assert not (await server.wait_closed()).drained


async def test_what_cannot_be_awaited_is_the_programs_mistake(in_memory):
    with pytest.RaisesGroup(TypeError, flatten_subgroups=True):
        async with in_memory(lambda datagram: 5) as (server, network):
            await send_all(network.open(), server, b"1")
            await trio.sleep_forever()


# Time


async def test_a_handler_that_takes_too_long_is_cut(in_memory, autojump_clock):
    held = Held()
    async with in_memory(held, timeouts=Timeouts(request=3.0)) as (server, network):
        await send_all(network.open(), server, b"1")
        await trio.sleep(2.9)
        assert server.statistics().active == 1
        await trio.sleep(0.2)
        assert server.statistics().ended == {Cause.REQUEST: 1}
