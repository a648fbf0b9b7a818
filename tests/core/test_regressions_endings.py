"""Regressions of drains, and of how answers and requests end."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from triosock import (
    Cause,
    Connection,
    DrainScope,
    RequestTimedOut,
    StreamServer,
    Timeouts,
    serve_listeners,
)
from triosock._core.registry.registry import NEVER
from triosock.testing import MemoryListener, open_server


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


async def test_an_answer_to_one_too_late_ends_with_the_grace(autojump_clock: Any) -> None:
    async def handler(conn: Connection) -> None:
        try:
            async for _ in conn.lines():
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(10)

    async def answer(error: Exception, conn: Connection) -> None:
        await trio.sleep_forever()

    timeouts = Timeouts(request=1, handshake=100)
    async with open_server(handler, timeouts=timeouts, on_error=answer) as served:
        client = await served.connect()
        await client.send_all(b"x\n")
        await trio.sleep(2)
        served.server.drain(grace=3)
        with trio.fail_after(30):
            report = await served.server.wait_closed()
    assert report.duration == pytest.approx(9)


async def test_half_an_answer_that_its_handler_gave_up_ends_with_a_reset(serving: Any) -> None:
    gave_up = trio.Event()

    async def handler(conn: Connection) -> None:
        with trio.move_on_after(0.1):
            await conn.send_all(b"x" * 20_000_000)
        gave_up.set()

    async with serving(handler) as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as client:
            with trio.fail_after(5):
                await gave_up.wait()
                with pytest.raises(trio.BrokenResourceError):
                    while await client.receive_some():
                        pass


async def test_who_comes_out_of_the_queue_has_the_idle_grace_too(autojump_clock: Any) -> None:
    async def echo(conn: Connection) -> None:
        async for line in conn.lines():
            await conn.send_all(line)

    async with open_server(echo) as served:
        served.server.suspend()  # so that the client stands in the queue
        client = await served.connect()
        served.server.drain(grace=60, idle_grace=20)
        await trio.sleep(12)
        await client.send_all(b"late\n")
        assert await client.receive_some() == b"late\n"


async def test_listeners_that_are_closed_in_the_delay_of_a_drain_do_not_end_the_delay(
    autojump_clock: Any,
) -> None:
    async def echo(conn: Connection) -> None:
        async for line in conn.lines():
            await conn.send_all(line)

    listener = MemoryListener("early")
    async with trio.open_nursery() as nursery:
        server: StreamServer = await nursery.start(serve_listeners, echo, [listener])
        client = await listener.connect()
        await client.send_all(b"one\n")
        assert await client.receive_some() == b"one\n"
        server.drain(grace=60, delay=20)
        await listener.aclose()
        await trio.sleep(19)
        await client.send_all(b"two\n")
        assert await client.receive_some() == b"two\n"
        assert await client.receive_some() == b""
        await client.aclose()
        report = await server.wait_closed()
    assert report.duration < 5  # from the end of the delay on


async def test_idleness_that_is_over_in_a_drain_cuts_nobody(autojump_clock: Any) -> None:
    async def echo(conn: Connection) -> None:
        async for line in conn.lines():
            await conn.send_all(line)

    async with open_server(echo, timeouts=Timeouts(idle=10)) as served:
        client = await served.connect()
        await client.send_all(b"a\n")
        assert await client.receive_some() == b"a\n"
        served.server.drain(grace=60, idle_grace=30)
        assert await client.receive_some() == b""
        report = await served.server.wait_closed()
    assert (report.finished, report.cancelled, report.clean) == (1, 0, True)
    assert report.causes == {Cause.IDLE: 1}


async def test_the_end_of_a_request_block_in_another_does_not_end_the_request(autojump_clock: Any) -> None:
    seen: list[bool] = []

    async def handler(conn: Connection) -> None:
        async with conn.request():
            async with conn.request(timeout=5):
                pass
            seen.append(conn.entry.request_since != NEVER)
            with pytest.raises(RequestTimedOut):
                async with conn.request(timeout=1):
                    await trio.sleep_forever()
            seen.append(conn.entry.request_since != NEVER)
        seen.append(conn.entry.request_since == NEVER)

    async with open_server(handler) as served:
        client = await served.connect()
        assert await client.receive_some() == b""
    assert seen == [True, True, True]
