"""Connections that reach an age or a number of requests: each is drained by itself."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import ask_line, read_lines
from tests.servers import connected
from tests.waiting import takes
from triosock import Limits, Timeouts
from triosock.testing import open_server


async def tell(conn: triosock.Connection) -> None:
    """Answer each line, and say whether it is the last."""
    async for line in conn.lines():
        if line == b"work\n":
            await trio.sleep(100)
        await conn.send_all(b"last\n" if conn.draining else b"more\n")


async def test_an_idle_one_ends_at_its_age_and_the_server_goes_on(autojump_clock):
    async with connected(tell, timeouts=Timeouts(max_age=60, max_age_jitter=0)) as (served, client):
        with takes(60, abs=0.1):
            assert await ask_line(client, b"a\n") == b"more\n"
            assert await client.receive_some() == b""
        other = await served.connect()
        assert await ask_line(other, b"a\n") == b"more\n"
        assert not served.server.draining


async def test_one_at_work_finishes_its_request_and_says_that_it_is_the_last(autojump_clock):
    async with connected(tell, timeouts=Timeouts(max_age=60, max_age_jitter=0)) as (_, client):
        with takes(100, abs=0.1):
            with takes(100, abs=0.1):
                assert await ask_line(client, b"work\n") == b"last\n"
            assert await client.receive_some() == b""


async def test_one_more_request_is_waited_for_and_told_to_be_the_last(autojump_clock):
    timeouts = Timeouts(max_age=60, max_age_jitter=0, idle_grace=5)
    async with open_server(tell, timeouts=timeouts) as served:
        asks, silent = await served.connect(), await served.connect()
        for client in (asks, silent):
            assert await ask_line(client, b"a\n") == b"more\n"
        with takes(65, abs=0.1):
            with takes(62, abs=0.1):
                await trio.sleep(62)
                assert await ask_line(asks, b"a\n") == b"last\n"
                assert await asks.receive_some() == b""
            assert await silent.receive_some() == b""


@pytest.mark.parametrize("others", [{}, dict.fromkeys(("handshake", "idle", "request", "send"), math.inf)])
async def test_an_age_is_exact_whatever_the_other_timeouts_are(autojump_clock, others):
    timeouts = Timeouts(max_age=0.5, max_age_jitter=0, **others)
    async with connected(tell, timeouts=timeouts) as (_, client):
        with takes(0.5, abs=0.01):
            assert await client.receive_some() == b""


async def test_a_handler_is_told_while_one_more_request_is_waited_for(autojump_clock):
    told: list[bool] = []

    async def look(conn: triosock.Connection) -> None:
        async def watch() -> None:
            for seconds in (59, 2):
                await trio.sleep(seconds)
                told.append(conn.draining)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await read_lines(conn)

    timeouts = Timeouts(max_age=60, max_age_jitter=0, idle_grace=5)
    async with connected(look, timeouts=timeouts) as (_, client):
        assert await client.receive_some() == b""
    assert told == [False, True]


async def test_the_jitter_spreads_the_ends(autojump_clock):
    ends: list[float] = []
    async with open_server(tell, timeouts=Timeouts(max_age=100, max_age_jitter=0.5)) as served:
        began = trio.current_time()

        async def wait_end() -> None:
            client = await served.connect()
            assert await client.receive_some() == b""
            ends.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(wait_end)
    assert min(ends) >= 49.9
    assert max(ends) <= 150.1
    assert max(ends) - min(ends) > 50


async def test_a_jitter_of_all_without_an_age_leaves_the_other_timeouts_as_they_are(autojump_clock):
    async with connected(tell, timeouts=Timeouts(idle=3, max_age_jitter=1)) as (_, client):
        with takes(3, abs=0.1), trio.fail_after(100):
            assert await client.receive_some() == b""


async def test_a_drain_does_not_wait_for_ages_and_ages_not_for_a_drain(autojump_clock):
    timeouts = Timeouts(max_age=60, max_age_jitter=0, idle_grace=5)
    async with connected(tell, timeouts=timeouts) as (served, client):
        assert await ask_line(client, b"a\n") == b"more\n"
        await trio.sleep(58)
        with takes(10, abs=0.1):
            served.server.drain(idle_grace=10)
            assert await client.receive_some() == b""


async def test_the_last_of_its_requests_says_so_and_then_it_ends(autojump_clock):
    async with connected(tell, limits=Limits(max_requests_per_connection=3)) as (served, client):
        for answer in (b"more\n", b"more\n", b"last\n"):
            assert await ask_line(client, b"a\n") == answer
        assert await client.receive_some() == b""
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert served.server.statistics().ended == {triosock.Cause.FINISHED: 1}


async def test_requests_that_were_sent_already_are_served_beyond_that(autojump_clock):
    async with connected(tell, limits=Limits(max_requests_per_connection=2)) as (_, client):
        await client.send_all(b"a\n" * 4)
        answers = b"".join([data async for data in client])
        assert answers == b"more\n" + b"last\n" * 3


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_age": 0}, ValueError),
        ({"max_age": math.nan}, ValueError),
        ({"max_age": "1"}, TypeError),
        ({"max_age_jitter": 1.5}, ValueError),
        ({"max_age_jitter": math.nan}, ValueError),
        ({"max_age_jitter": True}, TypeError),
    ],
)
def test_ages_that_are_none_are_errors(options, error):
    with pytest.raises(error, match=next(iter(options))):
        Timeouts(**options)


def test_a_count_of_requests_is_a_whole_number():
    with pytest.raises(TypeError, match="max_requests_per_connection"):
        Limits(max_requests_per_connection=1.5)
