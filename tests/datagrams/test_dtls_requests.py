"""DTLS: each datagram is a request, and the first one of a newcomer is answered in a drain."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.waiting import until, until_arrived, until_ended
from triosock import Cause, Timeouts
from triosock._core.model import events

pytest.importorskip("OpenSSL.SSL", reason="the extra dtls (pyOpenSSL) is not installed")

from tests.datagrams.associations import echo, exchange

settle = trio.testing.wait_all_tasks_blocked


@pytest.mark.parametrize("when", ["in the handshake", "after it"])
async def test_in_a_drain_the_first_datagram_of_a_newcomer_is_answered(serving_dtls, dial_dtls, when):
    states = []

    async def handler(session):
        async for data in session:
            states.append(session.draining)
            await session.send(data.upper())

    async with serving_dtls(handler) as server:
        with dial_dtls(server) as channel:
            if when == "in the handshake":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(channel.do_handshake)
                    await until(lambda: server.statistics().active)
                    server.drain(grace=30)
            else:
                await channel.do_handshake()
                await until(lambda: server.statistics().idle)
                server.drain(grace=30)
            await settle(0.01)
            assert await exchange(channel, b"first") == b"FIRST"
            report = await server.wait_closed()
    assert (report.finished, report.clean, states) == (1, True, [True])


async def test_in_a_drain_a_silent_newcomer_ends_after_five_seconds(serving_dtls, dial_dtls, mock_clock):
    async with serving_dtls(echo) as server:
        with dial_dtls(server) as channel:
            await channel.do_handshake()
            await until_arrived(lambda: server.statistics().idle)
            server.drain(grace=30)
            await settle()
            mock_clock.jump(4.9)
            await settle()
            assert server.statistics().active == 1
            mock_clock.jump(0.2)
            report = await server.wait_closed()
    assert (report.finished, report.cancelled) == (1, 0)


async def test_each_datagram_is_told_as_a_request(serving_dtls, dial_dtls, recorder):
    async def handler(session):
        async for data in session:
            if data == b"fail":
                raise ValueError
            if data == b"hang":
                await trio.sleep_forever()
            await session.send(data)

    async with serving_dtls(handler, observers=[recorder], timeouts=Timeouts(request=0.1)) as server:
        for count, last in enumerate((b"fail", b"hang"), 1):
            with dial_dtls(server) as channel:
                assert await exchange(channel, b"a") == b"a"
                await channel.send(last)
                await until_ended(server, count)
    assert len(recorder.of(events.RequestStarted)) == 4
    finished = recorder.of(events.RequestFinished)
    assert [event.cause for event in finished] == [
        Cause.FINISHED,
        Cause.FAILED,
        Cause.FINISHED,
        Cause.REQUEST,
    ]
    assert all(event.connection in (1, 2) and event.duration >= 0 for event in finished)
