"""The delay of a drain: everything goes on in it, and `draining` is already True."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import ask, echo, shout
from tests.servers import connected
from triosock import Connection, DrainScope, StreamServer, events, serve_listeners
from triosock.testing import DatagramNetwork, MemoryListener, open_server


async def tell_draining(conn: Connection) -> None:
    async for _ in conn.lines():
        await conn.send_all(b"last\n" if conn.draining else b"more\n")


async def test_in_the_delay_everything_goes_on_and_draining_tells(autojump_clock: Any) -> None:
    async with connected(tell_draining) as (served, early):
        assert await ask(early, b"x\n") == b"more\n"
        served.server.drain(grace=10, delay=5)
        assert served.server.draining
        assert served.server.statistics().draining
        await trio.sleep(4)
        late = await served.connect()
        for client in (early, late):
            assert await ask(client, b"x\n") == b"last\n"
        assert not served.recorder.of(events.DrainStarted)
        assert [event.delay for event in served.recorder.of(events.DrainAnnounced)] == [5]
        for client in (early, late):
            assert await client.receive_some() == b""
        assert trio.current_time() == 5
        with pytest.raises(ConnectionRefusedError):
            await served.connect()
        assert [event.grace for event in served.recorder.of(events.DrainStarted)] == [10]


async def test_a_limit_holds_in_the_delay(autojump_clock: Any) -> None:
    limits = triosock.Limits(max_connections=1, overflow="reject")
    async with open_server(shout, limits=limits) as served:
        await served.connect()
        await trio.sleep(1)
        served.server.drain(delay=5)
        second = await served.connect()
        with contextlib.suppress(trio.BrokenResourceError):
            assert await second.receive_some() == b""
        assert served.server.statistics().refused == {"connections": 1}


async def test_datagram_servers_understand_the_delay(autojump_clock: Any) -> None:
    network = DatagramNetwork()
    sock = network.open("server")
    asked: list[bool] = []

    async def echo(datagram: triosock.Datagram) -> None:
        asked.append(datagram.draining)
        await datagram.reply(datagram.data)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_datagram_sockets, echo, [sock])
        server.drain(delay=5)
        client = network.open("client")
        await client.send(b"x", sock.address)
        assert (await client.receive())[0] == b"x"
        client.close()
        assert asked == [True]
        await server.wait_closed()
        assert trio.current_time() == pytest.approx(5)


async def test_listeners_that_are_closed_in_the_delay_of_a_drain_do_not_end_the_delay(
    autojump_clock: Any,
) -> None:
    listener = MemoryListener("early")
    async with trio.open_nursery() as nursery:
        server: StreamServer = await nursery.start(serve_listeners, echo, [listener])
        client = await listener.connect()
        assert await ask(client, b"one\n") == b"one\n"
        server.drain(grace=60, delay=20)
        await listener.aclose()
        await trio.sleep(19)
        assert await ask(client, b"two\n") == b"two\n"
        assert await client.receive_some() == b""
        await client.aclose()
        report = await server.wait_closed()
    assert report.duration < 5  # from the end of the delay on


async def test_any_number_may_wait_for_the_beginning_of_a_drain(autojump_clock: Any) -> None:
    began: list[float] = []

    async def wait(scope: DrainScope) -> None:
        await scope.wait_begun()
        began.append(trio.current_time() - start)

    start = trio.current_time()
    with DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, scope)
            nursery.start_soon(wait, scope)
            with trio.move_on_after(1):
                await scope.wait_begun()
            scope.drain(delay=9)
            with trio.move_on_after(1):
                await scope.wait_begun()
            scope.drain(delay=4)
    assert began == [pytest.approx(6)] * 2


async def wait_for_ever(conn: Connection) -> None:
    await conn.send_all(b"begun\n")
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("first", "second", "cut_at"),
    [
        ({"grace": 10}, {}, 20),
        ({"grace": 10}, {"grace": 3}, 13),
        ({}, {"grace": 3}, 13),
        ({"grace": 3}, {"grace": 30, "delay": 5}, 18),
    ],
)
async def test_a_delay_without_an_end_is_ended_by_a_second_drain_and_keeps_its_grace(
    first: dict[str, float], second: dict[str, float], cut_at: float, autojump_clock: Any
) -> None:
    async with connected(wait_for_ever) as (served, client):
        assert await client.receive_until(b"\n") == b"begun\n"
        served.server.drain(delay=math.inf, **first)
        await trio.sleep(10)
        assert served.server.draining
        assert not served.recorder.of(events.DrainStarted)
        served.server.drain(**second)
        with trio.fail_after(100):
            report = await served.server.wait_closed()
        assert (report.cancelled, trio.current_time()) == (1, pytest.approx(cut_at))


async def test_what_is_entered_in_a_delay_without_an_end_gets_the_grace_too() -> None:
    with DrainScope() as scope:
        scope.drain(delay=math.inf, grace=7)
        with DrainScope() as inner:
            assert (inner.draining, inner.begins, inner.deadline) == (True, math.inf, math.inf)
            scope.drain()
            assert inner.deadline - inner.begins == pytest.approx(7)


async def test_the_grace_of_a_drain_that_would_begin_later_counts_from_there(autojump_clock: Any) -> None:
    with DrainScope() as scope:
        scope.drain(delay=10)
        scope.drain(delay=20, grace=3)
        assert (scope.begins, scope.deadline) == (pytest.approx(10), pytest.approx(23))
