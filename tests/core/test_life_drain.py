"""The life of a server: draining is not cancelling, and resets no connection."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import ask, read_all, read_once, say_bye, shout, shout_in_idle, wait_forever
from tests.servers import connected, drained
from tests.waiting import takes, until, until_arrived, until_served
from triosock import Cause, Limits, Timeouts
from triosock._core.model import events

pytestmark = pytest.mark.usefixtures("no_leaks")


# Draining is not cancelling


async def test_an_idle_connection_ends_at_once_when_drained(serving, dial, autojump_clock):
    async with serving(shout) as server, await dial(server) as client:
        assert await ask(client, b"one\n") == b"ONE\n"
        began = trio.current_time()
        server.drain(grace=60)
        assert await client.receive_some() == b""
        await client.aclose()
        report = await server.wait_closed()
        assert trio.current_time() - began < 1
        assert (report.finished, report.cancelled) == (1, 0)


async def test_work_in_flight_is_not_interrupted_before_the_deadline(serving, dial):
    working = trio.Event()
    release = trio.Event()

    async def handler(conn):
        async for line in conn.lines():
            working.set()
            await release.wait()
            await conn.send_all(line.upper())

    async with serving(handler) as server, await dial(server) as client:
        await client.send_all(b"slow\n")
        await working.wait()
        server.drain(grace=60)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().active == 1
        release.set()
        assert await read_all(client) == b"SLOW\n"
        await client.aclose()
        assert (await server.wait_closed()).clean


async def test_requests_that_had_arrived_are_answered_in_a_drain(serving, dial):
    async with serving(shout) as server, await dial(server) as client:
        assert await ask(client, b"first\n") == b"FIRST\n"
        # In the kernel's buffer, unread, when the drain is told: nothing has run in between.
        await client.send_all(b"a\nb\n")
        server.drain(grace=60)
        assert await read_all(client) == b"A\nB\n"


async def test_a_request_of_which_the_first_byte_had_arrived_may_be_finished(serving, dial):
    async with serving(shout) as server, await dial(server) as client:
        await client.send_all(b"hal")
        await until(lambda: server.statistics().received == 3)
        server.drain(grace=60)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send_all(b"f\n")
        assert await read_all(client) == b"HALF\n"


async def test_an_idle_block_ends_in_a_drain_and_says_so(autojump_clock):
    seen = []

    async def handler(conn):
        data = b"nothing"
        with conn.idle() as wait:
            data = await conn.receive_some()
        seen.append((data, wait.interrupted, conn.draining, triosock.draining()))

    async with connected(handler) as (served, client):
        await trio.testing.wait_all_tasks_blocked()
        assert served.server.statistics().idle == 1
        served.server.drain(grace=60)
        assert await read_all(client) == b""
    assert seen == [(b"nothing", True, True, True)]


async def test_an_idle_block_gives_input_that_had_arrived_before_the_drain(serving, dial):
    async with serving(shout_in_idle) as server, await dial(server) as client:
        assert await ask(client, b"x") == b"X"
        await client.send_all(b"late")
        server.drain(grace=60)
        assert await read_all(client) == b"LATE"


async def test_a_plain_receive_is_not_idle_and_gets_the_grace(serving, dial, autojump_clock):
    async with serving(read_once) as server, await dial(server):
        await until_served(server)
        with takes(7):
            report = await drained(server, grace=7)
        assert (report.finished, report.cancelled, report.clean) == (0, 1, False)


async def test_told_again_a_drain_can_only_tighten(serving, dial, autojump_clock):
    async with serving(wait_forever) as server, await dial(server):
        await until_served(server)
        with takes(5):
            server.drain(grace=100)
            await trio.sleep(1)
            server.drain(grace=1000)
            server.drain(grace=4)
            await drained(server)


async def test_an_infinite_grace_waits_for_ever(serving, dial, autojump_clock):
    async with serving(lambda conn: trio.sleep(100_000)) as server, await dial(server):
        await until_served(server)
        began = trio.current_time()
        assert (await drained(server, grace=float("inf"))).finished == 1
        assert trio.current_time() - began >= 99_999


async def test_the_default_grace_is_that_of_the_timeouts(serving, dial, autojump_clock):
    async with serving(wait_forever, timeouts=Timeouts(grace=3)) as server, await dial(server):
        await until_served(server)
        with takes(3):
            await drained(server)


# No client is reset for being early or late


async def test_clients_in_the_kernels_queue_are_served_in_a_drain_and_not_reset(serving, dial):
    release = trio.Event()

    async def handler(conn):
        async for line in conn.lines():
            await release.wait()
            await conn.send_all(line.upper())

    async with serving(handler, limits=Limits(max_connections=1)) as server:
        clients = [await dial(server) for _ in range(5)]
        for number, client in enumerate(clients):
            await client.send_all(b"number %d\n" % number)
        await until_served(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().accepted == 1
        server.drain(grace=60)
        await until(lambda: server.statistics().queued == 4)
        assert server.statistics().active == 1
        release.set()
        for number, client in enumerate(clients):
            assert await read_all(client) == b"NUMBER %d\n" % number
            await client.aclose()
        report = await server.wait_closed()
        assert (report.finished, report.refused, report.clean) == (5, 0, True)
        assert server.statistics().peak == 1


async def test_a_client_from_the_queue_has_a_moment_for_its_first_request(serving, dial, autojump_clock):
    async with serving(shout, limits=Limits(max_connections=1)) as server, await dial(server) as first:
        await first.send_all(b"x")
        second = await dial(server)
        await until_arrived(lambda: server.statistics().received == 1)
        server.drain(grace=60)
        await first.send_all(b"\n")
        assert await read_all(first) == b"X\n"
        await first.aclose()
        await second.send_all(b"late\n")
        assert await read_all(second) == b"LATE\n"
        await second.aclose()
        assert (await server.wait_closed()).finished == 2


async def test_those_who_never_got_a_slot_are_reported_as_refused(serving, dial, autojump_clock, recorder):
    async with serving(wait_forever, limits=Limits(max_connections=1), observers=[recorder]) as server:
        clients = [await dial(server) for _ in range(3)]
        await until_served(server)
        report = await drained(server, grace=1)
        assert (report.cancelled, report.refused) == (1, 2)
        assert [event.reason for event in recorder.of(events.Refused)] == ["drain", "drain"]
        for client in clients:
            await client.aclose()


async def test_a_reply_survives_input_that_nobody_read(serving, dial):
    async with serving(say_bye) as server, await dial(server) as client:
        await client.send_all(b"unread" * 1000)
        assert await read_all(client) == b"bye"
        await client.send_all(b"and later still")


async def test_the_lingering_close_is_bounded(serving, dial, autojump_clock):
    async with serving(say_bye, timeouts=Timeouts(close=3)) as server, await dial(server) as client:
        assert await read_all(client) == b"bye"
        with takes(3, abs=0.6):
            while server.statistics().active:
                await trio.sleep(0.5)
        assert server.statistics().ended == {Cause.FINISHED: 1}
