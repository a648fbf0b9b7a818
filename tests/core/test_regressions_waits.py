"""Regressions of waits: whom they end, when, and what is heard afterwards."""

from __future__ import annotations

import functools
import math
import socket
import ssl
import struct
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from tests.pairs import served as served_connection
from tests.pairs import tcp_pair
from triosock import (
    Cause,
    Connection,
    StreamServer,
    Timeouts,
    serve_tcp,
)
from triosock._core.registry.registry import NEVER, Entry
from triosock._core.registry.timeout_monitor import TimeoutMonitor
from triosock._core.transport.epoll import EpollReader
from triosock.testing import (
    cancel_at_every_checkpoint,
    memory_stream_pair,
    open_server,
    watch,
)

# TLS


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(ours)
    authority.configure_trust(theirs)
    return ours, theirs


async def open_tls(server: Any, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    inner = await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)
    return trio.SSLStream(inner, context, server_hostname="localhost")


async def test_under_tls_a_request_may_be_decrypted_already(serving: Any) -> None:
    ours, theirs = tls_contexts()

    async def by_the_byte(conn: Connection) -> None:
        while await conn.wait_request():
            await conn.send_all(await conn.receive_some(1))

    async with serving(by_the_byte, tls=ours) as server:
        async with await open_tls(server, theirs) as client:
            await client.send_all(b"abc")
            got = b""
            with trio.fail_after(5):
                while len(got) < 3:
                    got += await client.receive_some()
        assert got == b"abc"


async def test_under_tls_the_end_of_the_stream_is_no_request(serving: Any) -> None:
    ours, theirs = tls_contexts()
    told: list[bool] = []

    async def handler(conn: Connection) -> None:
        while await conn.wait_request():
            told.append(True)
            await conn.send_all(await conn.receive_some())
        told.append(False)

    async with serving(handler, tls=ours) as server:
        async with await open_tls(server, theirs) as client:
            await client.send_all(b"x")
            assert await client.receive_some() == b"x"
        with trio.fail_after(5):
            while server.statistics().active:
                await trio.sleep(0.01)
    assert told == [True, False]


# Timeouts of one's own


async def test_long_timeouts_of_one_connection_delay_no_look_at_another(autojump_clock: Any) -> None:
    ended: list[float] = []

    async def handler(conn: Connection) -> None:
        if await conn.receive_some() == b"long":
            conn.set_timeouts(idle=math.inf, request=math.inf, send=math.inf, close=9)
            await trio.sleep_forever()
        began = trio.current_time()
        await conn.wait_request()
        ended.append(trio.current_time() - began)

    timeouts = Timeouts(idle=1, handshake=9, request=9, send=9, close=9)
    async with open_server(handler, timeouts=timeouts) as served:
        one = await served.connect()
        await one.send_all(b"long")
        await trio.sleep(5)
        other = await served.connect()
        await other.send_all(b"short")
        assert await other.receive_some() == b""
        served.server.drain(grace=0)
    assert ended == [pytest.approx(1)]


# The kernel tells of an error once


@pytest.mark.parametrize("pumped", [False, True])
async def test_whether_there_is_input_may_be_asked_of_one_that_was_reset(pumped: bool) -> None:
    one, other = tcp_pair()
    epoll_reader = EpollReader()
    conn = served_connection(one, epoll_reader=epoll_reader if pumped else None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(epoll_reader.run)
        try:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            other.close()
            with trio.fail_after(5):
                while not conn.wire.has_input():
                    await trio.sleep(0.01)
            assert conn.wire.has_input()
            with pytest.raises(trio.BrokenResourceError):
                await conn.receive_some()
        finally:
            epoll_reader.retire()
            conn.wire.close_now()


# Which progress counts


class Served:
    def __init__(self, *, has_input: bool, has_room: bool) -> None:
        self.wire = self
        self.answers = has_input, has_room
        self.interrupted: list[Cause] = []

    def has_input(self) -> bool:
        return self.answers[0]

    def has_room(self) -> bool:
        return self.answers[1]

    def interrupt_idle(self, cause: Cause) -> None:
        self.interrupted.append(cause)


@pytest.mark.parametrize(("has_input", "interrupted"), [(True, []), (False, [Cause.IDLE])])
async def test_an_idle_wait_beside_a_send_that_is_stuck_goes_by_what_has_come(
    has_input: bool, interrupted: list[Cause], autojump_clock: Any
) -> None:
    monitor = TimeoutMonitor(Timeouts(idle=1, send=3, handshake=9, request=9, close=9))
    now = trio.current_time()
    entry = Entry(now, served=Served(has_input=has_input, has_room=False), idle_since=now, send_since=now)
    monitor.watch(entry)
    with trio.move_on_after(1.5):
        await monitor.run()
    assert entry.served.interrupted == interrupted
    assert entry.request_since == NEVER


# Hanging up, while TLS is put on


async def test_who_waits_for_the_peer_to_hang_up_goes_on_under_tls(serving: Any) -> None:
    ours, theirs = tls_contexts()
    heard: list[str] = []

    async def handler(conn: Connection) -> None:
        async def listen() -> None:
            await conn.wait_peer_gone()
            heard.append("gone")
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await conn.receive_exactly(1)
            await conn.start_tls(ours)
            heard.append("tls")
            await trio.sleep_forever()

    async with serving(handler) as server:
        inner = await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)
        async with inner:
            await inner.send_all(b"x")
            stream = trio.SSLStream(inner, theirs, server_hostname="localhost")
            await stream.do_handshake()
            await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(5):
            while server.statistics().active:
                await trio.sleep(0.01)
    assert heard == ["tls", "gone"]


async def test_under_tls_in_memory_the_stream_underneath_tells_who_has_hung_up(autojump_clock: Any) -> None:
    ours, theirs = tls_contexts()
    one, other = memory_stream_pair()
    conn = Connection(one)
    client = trio.SSLStream(other, theirs, server_hostname="localhost")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        await conn.start_tls(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conn.wait_peer_gone)
        await trio.testing.wait_all_tasks_blocked()
        await other.aclose()
    await conn.aclose()


# All of it, cancelled at each checkpoint


@pytest.mark.parametrize("whose", ["scenario", "handlers"])
async def test_waits_and_drains_leave_nothing_wherever_they_are_cancelled(whose: Any) -> None:
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
        async with trio.open_nursery() as nursery:
            server: StreamServer = await nursery.start(
                functools.partial(serve_tcp, handler, 0, host="127.0.0.1", on_error=answer)
            )
            watch(server)
            port = server.addresses[0].port
            async with await trio.open_tcp_stream("127.0.0.1", port) as one:
                async with await trio.open_tcp_stream("127.0.0.1", port) as other:
                    await one.send_all(b"ab")
                    await one.receive_some()
                    await other.send_all(b"cd")
                    await other.receive_some()
                    server.drain(grace=1, idle_grace=0.1)
                    await one.send_all(b"x")
                    await one.receive_some()
            await server.wait_closed()

    assert await cancel_at_every_checkpoint(scenario, whose=whose) > 10
