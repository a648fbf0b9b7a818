"""Rates of requests: they wait until they are due, or are refused; none is lost or takes two tokens."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

from tests.handlers import ask_line, read_all, shout
from tests.handlers import echo as by_lines
from tests.servers import connected
from tests.waiting import until_ended
from triosock import (
    Cause,
    Connection,
    LengthPrefixed,
    Limits,
    Rate,
    RateExceeded,
    TcpAddress,
    Timeouts,
    events,
)
from triosock.testing import Recorder, cancel_at_every_checkpoint, open_server

NEAR, FAR = TcpAddress("10.0.0.1", 1000), TcpAddress("10.1.0.1", 1000)
SLOW = Rate(1, per=2, burst=2)


def since(began: float) -> float:
    return round(trio.current_time() - began, 3)


async def arrivals(served: Any, messages: list[bytes], peer: TcpAddress = NEAR) -> list[float]:
    """Send all of these at once; return after how long each answer came."""
    client, began, times = await served.connect(peer=peer), trio.current_time(), []
    await client.send_all(b"".join(messages))
    for _ in messages:
        await client.receive_until(b"\n")
        times.append(since(began))
    await client.aclose()
    return times


async def by_frames(conn: Connection) -> None:
    async for frame in conn.frames(LengthPrefixed(1)):
        await conn.send_all(frame)


async def by_waiting(conn: Connection) -> None:
    while await conn.wait_request():
        await conn.send_all(await conn.receive_until(b"\n"))


async def by_blocks(conn: Connection) -> None:
    while True:
        line = await conn.receive_until(b"\n")
        async with conn.request():
            await conn.send_all(line)


async def by_blocks_in_lines(conn: Connection) -> None:
    async for line in conn.lines():
        async with conn.request(timeout=100):
            async with conn.request():
                await conn.send_all(line)


@pytest.mark.parametrize("handler", [by_lines, by_frames, by_waiting, by_blocks, by_blocks_in_lines])
async def test_too_many_at_once_wait_for_their_turns(autojump_clock: Any, handler: Any) -> None:
    recorder = Recorder(events.RateReached)
    message = b"\x02a\n" if handler is by_frames else b"a\n"
    limits = Limits(request_rate_per_peer=SLOW)
    async with open_server(handler, limits=limits, observers=[recorder]) as served:
        assert await arrivals(served, [message] * 5) == [0, 0, 2, 4, 6]
        assert served.server.statistics().limited == {"request_rate_per_peer": 3}
        assert served.server.statistics().refused == {}
        told = recorder.of(events.RateReached)
        assert [(one.limit, one.peer, one.delay) for one in told] == [
            ("request_rate_per_peer", NEAR, pytest.approx(2))
        ] * 3


@pytest.mark.parametrize("handler", [by_lines, by_waiting])
async def test_requests_that_come_in_pieces_take_one_token_each(autojump_clock: Any, handler: Any) -> None:
    async with open_server(handler, limits=Limits(request_rate_per_peer=SLOW)) as served:
        client, began, times = await served.connect(), trio.current_time(), []
        for _ in range(4):
            for piece in (b"a", b"b", b"\n"):
                await client.send_all(piece)
                await trio.sleep(0.1)
            await client.receive_until(b"\n")
            times.append(since(began))
        # The third has its token two seconds after the first took one, the fourth two seconds later.
        assert times == pytest.approx([0.3, 0.6, 2, 4], abs=0.01)


@pytest.mark.parametrize("handler", [by_lines, by_waiting])
async def test_a_request_on_a_socket_is_told_and_counted_once(serving: Any, dial: Any, handler: Any) -> None:
    recorder = Recorder(events.RequestStarted, events.RequestFinished)
    limits = Limits(request_rate=Rate(1_000, per=1), max_requests_per_connection=2)
    async with serving(handler, limits=limits, observers=[recorder]) as server, await dial(server) as client:
        for _ in range(2):
            await client.send_all(b"a\n")
            assert await client.receive_some() == b"a\n"
        assert await client.receive_some() == b""
        await client.aclose()
        await until_ended(server)
    assert [type(event) for event in recorder.events] == [events.RequestStarted, events.RequestFinished] * 2


async def test_connections_of_one_peer_share_its_rate_and_others_have_their_own(autojump_clock: Any) -> None:
    limits = Limits(request_rate_per_peer=SLOW)
    async with open_server(by_lines, limits=limits) as served:
        times: dict[str, list[float]] = {}

        async def ask(name: str, peer: TcpAddress) -> None:
            times[name] = await arrivals(served, [b"a\n"], peer)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(ask, f"near {number}", NEAR)
            nursery.start_soon(ask, "far", FAR)
        assert times.pop("far") == [0]
        assert sorted(times.values()) == [[0], [0], [2], [4], [6]]


async def test_networks_and_all_together_have_rates_too(autojump_clock: Any) -> None:
    neighbour = TcpAddress("10.0.0.9", 1000)
    limits = Limits(request_rate=Rate(1, per=5, burst=3), request_rate_per_network=SLOW)
    async with open_server(by_lines, limits=limits) as served:
        assert await arrivals(served, [b"a\n"] * 2) == [0, 0]
        assert await arrivals(served, [b"a\n"], neighbour) == [2]
        assert await arrivals(served, [b"a\n"], FAR) == [3]
        assert served.server.statistics().limited == {"request_rate_per_network": 1, "request_rate": 1}


async def test_behind_a_proxy_the_client_of_the_header_counts(autojump_clock: Any) -> None:
    async def timed(client: str) -> float:
        conn, began = await served.connect(peer=TcpAddress("127.0.0.1", 1)), trio.current_time()
        await conn.send_all(f"PROXY TCP4 {client} 10.0.0.1 5000 443\r\na\n".encode())
        await conn.receive_until(b"\n")
        await conn.aclose()
        return since(began)

    limits = Limits(request_rate_per_peer=Rate(1, per=2, burst=1))
    async with open_server(by_lines, proxy=True, limits=limits) as served:
        assert [await timed(f"203.0.113.{last}") for last in (1, 2, 1, 3)] == [0, 0, 2, 0]


async def test_refused_the_connection_ends_with_the_peer_as_the_cause(autojump_clock: Any) -> None:
    recorder = Recorder(events.RateReached, events.ConnectionClosed)
    limits = Limits(request_rate_per_peer=SLOW, request_overflow="reject")
    async with open_server(by_lines, limits=limits, observers=[recorder]) as served:
        client = await served.connect(peer=NEAR)
        await client.send_all(b"a\nb\nc\nd\n")
        assert await read_all(client) == b"a\nb\n"
        await client.aclose()
        await trio.sleep(10)
        assert served.server.statistics().limited == {"request_rate_per_peer": 1}
        assert served.server.statistics().ended == {Cause.PEER: 1}
        reached, closed = recorder.events
        assert (reached.limit, reached.delay) == ("request_rate_per_peer", None)
        assert str(closed.error) == (
            "the peer sends requests too fast (request_rate_per_peer): the next one in 2 s"
        )


async def test_refused_it_may_be_told_so_by_on_error(autojump_clock: Any) -> None:
    async def say(error: Exception, conn: Connection) -> None:
        assert isinstance(error, RateExceeded)
        await conn.send_all(b"come back in %d s\n" % round(error.retry_after))

    limits = Limits(request_rate_per_peer=SLOW, request_overflow="reject")
    async with connected(by_lines, limits=limits, on_error=say) as (_, client):
        await client.send_all(b"a\nb\nc\n")
        assert await read_all(client) == b"a\nb\ncome back in 2 s\n"


async def test_refused_a_handler_may_say_so_and_go_on(autojump_clock: Any) -> None:
    async def handler(conn: Connection) -> None:
        while True:
            try:
                async for line in conn.lines():
                    await conn.send_all(line)
                return
            except RateExceeded as error:
                await conn.send_all(b"429\n")
                await trio.sleep(error.retry_after)

    limits = Limits(request_rate_per_peer=SLOW, request_overflow="reject")
    async with connected(handler, limits=limits) as (_, client):
        await client.send_all(b"a\nb\nc\nd\n")
        await client.send_eof()
        assert await read_all(client) == b"a\nb\n429\nc\n429\nd\n", "what was refused is still to be read"


async def test_refused_takes_nothing(autojump_clock: Any) -> None:
    async def handler(conn: Connection) -> None:
        for _ in range(100):
            try:
                async with conn.request():
                    await conn.send_all(b"ok\n")
            except RateExceeded:
                await conn.send_all(b"no\n")
            await trio.sleep(0.5)

    limits = Limits(request_rate_per_peer=Rate(1, per=2, burst=1), request_overflow="reject")
    async with connected(handler, limits=limits) as (_, client):
        got = [await client.receive_until(b"\n") for _ in range(9)]
        assert got == [b"ok\n", b"no\n", b"no\n", b"no\n"] * 2 + [b"ok\n"]


async def test_a_block_that_was_refused_leaves_no_request_behind(autojump_clock: Any) -> None:
    recorder = Recorder(events.RequestStarted, events.RequestFinished)

    async def handler(conn: Connection) -> None:
        while True:
            line = await conn.receive_until(b"\n")
            try:
                async with conn.request():
                    await conn.send_all(line)
            except RateExceeded:
                await conn.send_all(b"429\n")

    limits = Limits(request_rate_per_peer=Rate(1, per=60, burst=1), request_overflow="reject")
    timeouts = Timeouts(request=5, idle=500)
    async with connected(handler, limits=limits, timeouts=timeouts, observers=[recorder]) as (_, client):
        for said, answer in ((b"a\n", b"a\n"), (b"b\n", b"429\n")):
            assert await ask_line(client, said) == answer
        await trio.sleep(100)  # longer than a request may take
        assert await ask_line(client, b"c\n") == b"c\n"
        finished = recorder.of(events.RequestFinished)
        assert [event.cause for event in finished] == [Cause.FINISHED, Cause.PEER, Cause.FINISHED]


async def test_the_wait_counts_towards_the_time_of_the_request(autojump_clock: Any) -> None:
    limits, timeouts = Limits(request_rate_per_peer=Rate(1, per=60, burst=1)), Timeouts(request=5)
    async with open_server(by_lines, limits=limits, timeouts=timeouts) as served:
        client, began = await served.connect(), trio.current_time()
        await client.send_all(b"a\nb\n")
        with pytest.raises(trio.BrokenResourceError):
            await read_all(client)
        assert since(began) == pytest.approx(5, abs=0.1)


async def test_a_cancelled_wait_keeps_its_turn_and_loses_no_byte(autojump_clock: Any) -> None:
    times = []

    async def handler(conn: Connection) -> None:
        began, lines = trio.current_time(), conn.lines()
        while True:
            with trio.move_on_after(0.3) as patience:
                try:
                    times.append((await anext(lines), since(began)))
                except StopAsyncIteration:
                    return
            assert patience.cancelled_caught or times

    limits = Limits(request_rate_per_peer=SLOW)
    async with connected(handler, limits=limits) as (_, client):
        await client.send_all(b"a\nb\nc\nd\n")
        await client.send_eof()
        assert await read_all(client) == b""
    assert [line for line, _ in times] == [b"a\n", b"b\n", b"c\n", b"d\n"]
    assert [when for _, when in times] == pytest.approx([0, 0, 2, 4], abs=0.01)


async def test_a_drain_serves_the_request_that_waits_for_its_turn(autojump_clock: Any) -> None:
    async with connected(by_lines, limits=Limits(request_rate_per_peer=SLOW), grace=10) as (served, client):
        await client.send_all(b"a\nb\nc\n")
        await trio.sleep(0.5)
        served.server.drain(grace=10)
        assert await read_all(client) == b"a\nb\nc\n"


async def test_cancelled_at_every_checkpoint_nothing_is_left() -> None:
    async def scenario() -> None:
        limits = Limits(request_rate_per_peer=Rate(1000, burst=1))
        async with connected(shout, limits=limits) as (_, client):
            assert await ask_line(client, b"a\nb\n") == b"A\n"
            assert await client.receive_until(b"\n") == b"B\n"

    await cancel_at_every_checkpoint(scenario)


async def test_the_log_says_it_for_those_who_look_closely(autojump_clock: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, "triosock")
    limits = Limits(rate=Rate(1, per=2, burst=1), request_rate_per_peer=SLOW)
    async with open_server(by_lines, limits=limits, name="shop") as served:
        await served.connect(peer=NEAR)
        assert await arrivals(served, [b"a\n"] * 3) == [2, 2, 4]
    assert "shop: rate is reached: a connection waits for 2 s" in caplog.messages
    assert (
        "shop: request_rate_per_peer is reached: a request of tcp://10.0.0.1:1000 waits for 2 s"
        in caplog.messages
    )
