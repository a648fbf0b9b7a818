"""Connections out of the accept queue that wait for a slot in a drain: their order, and their times."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.handlers import ask_line, shout
from tests.servers import connected
from tests.tls import client_context, server_context
from tests.waiting import takes
from triosock import Connection, Limits, Timeouts


async def work_or_greet(conn: Connection) -> None:
    """The first one works for eight seconds; the others are greeted, and asked."""
    if conn.id == 1:
        await conn.receive_some()
        await trio.sleep(8)
        return
    await conn.send_all(b"welcome\n")
    await shout(conn)


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("tls", [False, True])
async def test_who_waits_long_for_a_slot_is_a_newcomer_when_it_has_one(
    tls: bool, asks: bool, autojump_clock: Any
) -> None:
    options = {"tls": server_context()} if tls else {}
    ways = {"server_side": False, "server_hostname": "localhost"}
    limits, timeouts = Limits(max_connections=1), Timeouts(handshake=30)
    async with connected(work_or_greet, limits=limits, timeouts=timeouts, **options) as (served, first):
        if tls:
            await first.start_tls(client_context(), **ways)
        await first.send_all(b"work\n")
        await first.aclose()
        second = await served.connect()
        served.server.drain(grace=60)
        if tls:
            await second.start_tls(client_context(), **ways)
        assert await second.receive_exactly(8) == b"welcome\n"
        assert trio.current_time() == 8
        await trio.sleep(4)
        if asks:
            assert await ask_line(second, b"request\n") == b"REQUEST\n"
        assert await second.receive_some() == b""
        assert trio.current_time() == pytest.approx(12 if asks else 13, abs=0.051)


async def test_who_waits_for_a_slot_in_a_drain_gets_it_in_order(autojump_clock: Any) -> None:
    order: list[int] = []

    async def handler(conn: Connection) -> None:
        order.append(conn.id)
        await conn.receive_some()

    async with connected(handler, limits=Limits(max_connections=1)) as (served, first):
        await trio.testing.wait_all_tasks_blocked()
        others = [await served.connect() for _ in range(20)]
        served.server.drain(grace=60)
        await trio.testing.wait_all_tasks_blocked()
        for client in (first, *others):
            await client.aclose()
        report = await served.server.wait_closed()
    assert order == [*range(1, 22)]
    assert report.finished == 21


@pytest.mark.parametrize("asks", [False, True])
async def test_the_time_for_a_handshake_counts_from_the_slot(asks: bool, autojump_clock: Any) -> None:
    context = {"server_side": False, "server_hostname": "localhost"}
    limits, timeouts = Limits(max_connections=1), Timeouts(handshake=8)
    tls = server_context()
    async with connected(work_or_greet, limits=limits, timeouts=timeouts, tls=tls) as (served, first):
        await first.start_tls(client_context(), **context)
        await first.send_all(b"work\n")
        await first.aclose()
        second = await served.connect()
        served.server.drain(grace=60)
        if asks:
            await trio.sleep(8 + 7)
            await second.start_tls(client_context(), **context)
            assert await second.receive_exactly(8) == b"welcome\n"
        else:
            with takes(8 + 8):
                assert await second.receive_some() == b""
