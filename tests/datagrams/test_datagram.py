"""One task per datagram, with bounds that drop what they must and say so. In memory, under virtual time."""

from __future__ import annotations

import sys

import pytest
import trio
import trio.testing

import triosock
from triosock import Cause, Limits, Timeouts
from triosock._core import events

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

settle = trio.testing.wait_all_tasks_blocked


class Held:
    """A handler that keeps each datagram until it is released."""

    def __init__(self):
        self.begun = []
        self.release = trio.Event()

    async def __call__(self, datagram):
        self.begun.append(datagram.data)
        await self.release.wait()
        await datagram.reply(b"done " + datagram.data)


async def send_all(client, server, *datagrams):
    for data in datagrams:
        await client.send(data, server.addresses[0])
    await settle()


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
        assert [type(event) for event in recorder.events[1:]] == [
            events.RequestStarted,
            events.RequestFinished,
        ]


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
    held = Held()
    async with in_memory(held, limits=Limits(max_pending_datagrams=2), observers=[recorder]) as (
        server,
        network,
    ):
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
    held = Held()
    held.release.set()
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
    held = Held()
    held.release.set()
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
            await settle(0.02)
            await second.send(b"3")
            await settle(0.02)
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

    with pytest.raises(ExceptionGroup) as caught:
        async with in_memory(handler, on_error="raise", limits=Limits(max_connections=1)) as (
            server,
            network,
        ):
            await send_all(network.open(), server, b"1", b"2", b"3")
            await trio.sleep_forever()
    assert caught.group_contains(ValueError, match="enough") if hasattr(caught, "group_contains") else True
    s = server.statistics()
    assert s.handled + sum(s.dropped.values()) == 3
    assert s.dropped["closed"] >= 1
    assert not (await server.wait_closed()).drained


async def test_what_cannot_be_awaited_is_the_programs_mistake(in_memory):
    with pytest.raises(ExceptionGroup):
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


# Drain and cancel


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
        kinds = [type(event) for event in recorder.events][-4:]
        assert kinds == [
            events.RequestFinished,
            events.ListenerClosed,
            events.DrainFinished,
            events.ServerClosed,
        ]


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
        server.drain(grace=5)
        report = await server.wait_closed()
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
        assert recorder.of(events.ServerSuspended, events.ServerResumed)


async def test_suspended_and_drained_what_waits_is_served(in_memory):
    held = Held()
    held.release.set()
    async with in_memory(held) as (server, network):
        server.suspend()
        await send_all(network.open("client"), server, b"1")
        server.drain()
        assert (await server.wait_closed()).finished == 1


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


async def test_when_the_socket_is_closed_behind_its_back_it_ends(in_memory):
    held = Held()
    held.release.set()
    network = triosock.testing.DatagramNetwork()
    sock = network.open("server")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_datagram_sockets, held, [sock])
        await settle()
        sock.close()
        assert (await server.wait_closed()).drained


async def test_cancelled_at_every_checkpoint_nothing_is_left():
    from triosock.testing import DatagramNetwork, cancel_at_every_checkpoint, watch

    async def scenario():
        network = DatagramNetwork()
        sock, client = network.open("server"), network.open("client")

        async def handler(datagram):
            await trio.lowlevel.checkpoint()
            await datagram.reply(datagram.data)

        async with trio.open_nursery() as nursery:

            async def serve(task_status):
                limits = Limits(max_connections=1, max_pending_datagrams=3)
                await triosock.serve_datagram_sockets(handler, [sock], limits=limits, task_status=task_status)

            server = await nursery.start(serve)
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
                server._intake.check()
        server._intake.check()

    assert await cancel_at_every_checkpoint(scenario) > 5
