"""Waiting for a request, for the peer to hang up, and for how long: under a virtual clock where it can be."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
import trio.testing

from tests.handlers import ask, reset
from tests.pairs import memory_pair, served, tcp_pair
from tests.servers import connected, running
from tests.waiting import fails_with, takes, until
from triosock import Cause, Connection, Timeouts, events, serve_tcp
from triosock._core.transport.epoll import EpollReader
from triosock.testing import Recorder, cancel_at_every_checkpoint, memory_stream_pair, open_server, watch


async def heads(conn: Connection) -> None:
    while await conn.wait_request():
        await conn.send_all((await conn.receive_until(b".")).upper())


# The first byte of a request


async def test_the_first_byte_is_waited_for_and_not_taken() -> None:
    one, other = tcp_pair()
    conn = Connection(one)
    with other:
        other.send(b"x")
        assert await conn.wait_request() is True
        assert one.recv(10, socket.MSG_PEEK) == b"x"  # who reads the socket itself finds it
        assert await conn.receive_some() == b"x"
    assert await conn.wait_request() is False
    await conn.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await conn.wait_request()


async def test_requests_begin_with_their_first_byte(autojump_clock: Any) -> None:
    recorder = Recorder(events.RequestStarted, events.RequestFinished)
    async with connected(heads, observers=[recorder]) as (served, client):
        await trio.sleep(5)
        assert served.server.statistics().idle == 1
        await client.send_all(b"a")
        await trio.sleep(1)
        assert served.server.statistics().idle == 0
        await client.send_all(b"b.c.")
        assert await client.receive_exactly(4) == b"AB.C"
        await trio.sleep(1)
        assert served.server.statistics().idle == 1
    assert [type(event).__name__ for event in recorder.events] == ["RequestStarted", "RequestFinished"] * 2
    assert recorder.events[1].duration == pytest.approx(1)


async def test_the_idle_timeout_ends_the_wait_and_the_handler_may_still_send(autojump_clock: Any) -> None:
    async def polite(conn: Connection) -> None:
        while await conn.wait_request():
            await conn.send_all(await conn.receive_some())
        await conn.send_all(b"bye")

    async with connected(polite, timeouts=Timeouts(idle=10)) as (served, client):
        assert await ask(client, b"x") == b"x"
        with takes(10):
            assert await client.receive_some() == b"bye"
        assert await client.receive_some() == b""
    assert served.server.statistics().ended == {Cause.IDLE: 1}


async def test_a_drain_ends_the_wait_and_a_request_that_is_there_is_answered(autojump_clock: Any) -> None:
    async with open_server(heads) as served:
        idle, busy = await served.connect(), await served.connect()
        for client in (idle, busy):
            await client.send_all(b"x.")
            assert await client.receive_exactly(2) == b"X."
        await busy.send_all(b"y.")  # its task has not run since
        served.server.drain(grace=5)
        assert await idle.receive_some() == b""
        assert await busy.receive_exactly(2) == b"Y."
        assert await busy.receive_some() == b""
    assert served.report is not None
    assert served.report.finished == 2


@pytest.mark.parametrize("by_epoll", [False, True])
async def test_whether_there_is_input_may_be_asked_of_one_that_was_reset(by_epoll: bool) -> None:
    one, other = tcp_pair()
    epoll_reader = EpollReader()
    conn = served(one, epoll_reader=epoll_reader if by_epoll else None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(epoll_reader.run)
        try:
            reset(other)
            await until(conn.wire.has_input)
            assert conn.wire.has_input()
            with pytest.raises(trio.BrokenResourceError):
                await conn.receive_some()
        finally:
            epoll_reader.retire()
            conn.wire.close_now()


async def test_waiting_for_a_request_is_cancelled_like_any_wait() -> None:
    conn, peer = await memory_pair()
    async with conn, peer:
        with trio.move_on_after(0):
            await conn.wait_request()
        await peer.send_all(b"x")
        assert await conn.wait_request() is True
        assert await conn.receive_some() == b"x"


@pytest.mark.parametrize("drip", [None, 0.6])
@pytest.mark.parametrize("reading", ["until", "exactly", "some", "iterated"])
async def test_a_request_that_began_in_an_idle_block_is_no_idle_wait(
    reading: str, drip: float | None, autojump_clock: Any
) -> None:
    async def handler(conn: Connection) -> None:
        with conn.idle():
            match reading:
                case "until":
                    await conn.receive_until(b"\n\n")
                case "exactly":
                    await conn.receive_exactly(100)
                case "some":
                    while await conn.receive_some():
                        pass
                case "iterated":
                    async for _ in conn:
                        pass

    async with connected(handler, timeouts=Timeouts(idle=1, request=2, close=0.1)) as (served, client):
        await client.send_all(b"G")
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def drop_by_drop() -> None:
                while drip is not None:
                    await trio.sleep(drip)
                    await client.send_all(b"E")

            nursery.start_soon(drop_by_drop)
            await served.recorder.wait_for(events.ConnectionClosed)
            nursery.cancel_scope.cancel()
        cause = Cause.IDLE if drip is None else Cause.REQUEST
        assert served.server.statistics().ended == {cause: 1}
        assert trio.current_time() - began < 3


# The peer hangs up


async def hang_up_scenario(conn: Connection, peer: Any) -> None:
    """Input that came before does not hide the end, and is still there after it."""
    async with trio.open_nursery() as nursery:
        told = trio.Event()

        async def watch() -> None:
            await conn.wait_peer_gone()
            told.set()

        nursery.start_soon(watch)
        await peer.send_all(b"second\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not told.is_set()
        is_socket = isinstance(conn.wire.transport, socket.socket)
        with pytest.raises(trio.BusyResourceError) if is_socket else trio.move_on_after(0):
            await conn.wait_peer_gone()
        await peer.aclose()
        with trio.fail_after(5):
            await told.wait()
    await conn.wait_peer_gone()
    assert await conn.receive_until(b"\n") == b"second\n"
    assert await conn.receive_some() == b""
    await conn.aclose()


@pytest.mark.parametrize("make", [tcp_pair, memory_stream_pair])
async def test_a_peer_that_hangs_up_is_told_of_without_reading(make: Any) -> None:
    one, other = make()
    await hang_up_scenario(Connection(one), Connection(other))


async def test_the_epoll_reader_of_a_server_tells_of_it_too() -> None:
    one, other = tcp_pair()
    async with trio.open_nursery() as nursery:
        epoll_reader = EpollReader()
        epoll_reader.users += 1
        nursery.start_soon(epoll_reader.run)
        await hang_up_scenario(served(one, epoll_reader=epoll_reader), Connection(other))
        epoll_reader.leave()
        epoll_reader.retire()


@pytest.mark.parametrize("how", ["half-close", "reset"])
async def test_a_half_close_and_a_reset_count_as_gone(how: str, over_tcp: Any) -> None:
    conn, peer = over_tcp
    if how == "reset":
        peer.abort()
    else:
        await peer.send_eof()
    with trio.fail_after(5):
        await conn.wait_peer_gone()


async def test_who_waits_for_the_peer_hears_of_a_close_on_this_side(over_tcp: Any) -> None:
    conn, _ = over_tcp
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails_with, trio.ClosedResourceError, conn.wait_peer_gone)
        await trio.testing.wait_all_tasks_blocked(0.01)
        conn.abort()
    await fails_with(trio.ClosedResourceError, conn.wait_peer_gone)


async def test_a_stream_that_cannot_tell_says_so() -> None:
    conn, peer = await memory_pair()  # trio's own
    async with conn, peer:
        with pytest.raises(TypeError, match="cannot tell that its peer has hung up"):
            await conn.wait_peer_gone()


async def test_a_long_poll_ends_when_its_client_has_left(serving: Any, dial: Any) -> None:
    ended = trio.Event()

    async def cancel_if_gone(conn: Connection, scope: trio.CancelScope) -> None:
        await conn.wait_peer_gone()
        scope.cancel()

    async def poll(conn: Connection) -> None:
        await conn.receive_until(b"\n")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_if_gone, conn, nursery.cancel_scope)
                await trio.sleep_forever()  # news
        finally:
            ended.set()

    async with serving(poll) as server, await dial(server) as client:
        await client.send_all(b"poll\nsecond\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not ended.is_set()
        await client.aclose()
        with trio.fail_after(5):
            await ended.wait()


# All of it, cancelled at each checkpoint


@pytest.mark.parametrize("whose", ["scenario", "handlers"])
async def test_waits_and_drains_leave_nothing_wherever_they_are_cancelled(whose: Any, dial: Any) -> None:
    async def handler(conn: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conn.wait_peer_gone)
            conn.set_timeouts(idle=50)
            while await conn.wait_request():
                async with conn.request():
                    await conn.send_all(await conn.receive_exactly(2))
                data = b""
                with conn.idle():
                    data = await conn.receive_some(1)
                if not data:
                    break
                raise ValueError("of the handler")

    async def answer(error: Exception, conn: Connection) -> None:
        await conn.send_all(b"no")

    async def scenario() -> None:
        async with running(serve_tcp, handler, 0, host="127.0.0.1", on_error=answer) as server:
            watch(server)
            async with await dial(server) as one, await dial(server) as other:
                await ask(one, b"ab")
                await ask(other, b"cd")
                server.drain(grace=60, idle_grace=0.1)
                await ask(one, b"x")
            await server.wait_closed()

    assert await cancel_at_every_checkpoint(scenario, whose=whose) > 10
