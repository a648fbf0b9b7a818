"""A drain and requests in flight: newcomers, idle grace, delay, storms of connects."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from tests.core.test_drain_delay import tell_draining
from tests.handlers import ask, ask_line, echo, reset, shout, shout_by_wait
from tests.servers import connected, drained
from tests.tls import client_context, server_context
from tests.waiting import takes, until, until_served
from triosock import Cause, Connection, DrainScope, Timeouts, events
from triosock._core.listeners.accept_loop import BATCH
from triosock._core.listeners.listener import Listener
from triosock.testing import (
    MemoryListener,
    MemoryStream,
    OpenServer,
    memory_stream_pair,
    open_server,
)


async def by_block(conn: Connection) -> None:
    data = b""
    with conn.idle():
        data = await conn.receive_some()
    if data:
        await conn.send_all(data.upper())


async def by_some(conn: Connection) -> None:
    await conn.send_all((await conn.receive_some()).upper())


# Newcomers


@contextlib.asynccontextmanager
async def answered_in_a_drain(handler: Any, **options: Any) -> AsyncIterator[tuple[OpenServer, Connection]]:
    """A server that drains at the end of the block, and its client, whose first request is then answered."""
    async with connected(handler, **options) as (served, client):
        yield served, client
        assert await ask_line(client, b"request\n") == b"REQUEST\n"
        assert await client.receive_some() == b""
    assert served.report is not None
    assert (served.report.finished, served.report.cancelled) == (1, 0)


@pytest.mark.parametrize("handler", [shout, by_block, shout_by_wait, by_some])
async def test_who_was_accepted_a_moment_before_the_drain_is_answered(
    handler: Any, autojump_clock: Any
) -> None:
    async with answered_in_a_drain(handler) as (served, _):
        await trio.sleep(0.02)
        served.server.drain(grace=20)
        await trio.sleep(0.05)


async def test_under_tls_the_age_counts_from_the_end_of_the_handshake(autojump_clock: Any) -> None:
    async with answered_in_a_drain(shout, tls=server_context()) as (served, client):
        await trio.sleep(4)
        await client.start_tls(client_context(), server_side=False, server_hostname="localhost")
        await trio.sleep(2)
        served.server.drain(grace=20)
        await trio.sleep(2)


@pytest.mark.parametrize("pause", [4, 5.5])
async def test_the_age_counts_from_the_end_of_a_handshake_in_the_drain(
    pause: float, autojump_clock: Any
) -> None:
    async with answered_in_a_drain(shout, tls=server_context()) as (served, client):
        served.server.drain(grace=20)
        await trio.sleep(pause)
        await client.start_tls(client_context(), server_side=False, server_hostname="localhost")
        await trio.sleep(4)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_proxy_header_is_no_request(tls: bool, autojump_clock: Any) -> None:
    options = {"tls": server_context()} if tls else {}
    async with answered_in_a_drain(shout, proxy=True, **options) as (served, client):
        await client.send_all(b"PROXY TCP4 203.0.113.9 10.0.0.1 5000 443\r\n")
        if tls:
            await client.start_tls(client_context(), server_side=False, server_hostname="localhost")
        await trio.sleep(1)
        served.server.drain(grace=20)
        await trio.sleep(3)


async def test_a_connection_that_said_nothing_for_long_is_idle(autojump_clock: Any) -> None:
    async with connected(shout) as (served, old):
        await trio.sleep(3)
        young = await served.connect()
        await trio.sleep(2.5)
        with takes(2.5):  # then it is five seconds old
            with takes(0, abs=0):
                served.server.drain(grace=20)
                assert await old.receive_some() == b""
            assert await young.receive_some() == b""


async def test_who_has_asked_before_is_no_newcomer(autojump_clock: Any) -> None:
    async with connected(shout) as (served, client):
        assert await ask(client, b"a\n") == b"A\n"
        with takes(0, abs=0):
            served.server.drain(grace=20)
            assert await client.receive_some() == b""


async def test_a_newcomer_gets_one_answer_and_no_second(autojump_clock: Any) -> None:
    async with connected(shout) as (served, client):
        await trio.testing.wait_all_tasks_blocked()
        served.server.drain(grace=20)
        with takes(0, abs=0):
            assert await ask(client, b"a\n") == b"A\n"
            assert await client.receive_some() == b""


async def test_newcomers_of_many_ages_end_each_in_its_time(autojump_clock: Any) -> None:
    async with open_server(shout) as served:
        clients = []
        for _ in range(40):
            clients.append(await served.connect())
            await trio.sleep(0.1)
        served.server.drain(grace=20)
        for number, client in enumerate(clients):
            assert await client.receive_some() == b""
            assert trio.current_time() == pytest.approx(number * 0.1 + 5, abs=0.051)


# Idle grace


@pytest.mark.parametrize("where", ["call", "timeouts", "scope"])
async def test_in_the_idle_grace_one_more_request_is_answered(where: str, autojump_clock: Any) -> None:
    timeouts = Timeouts(idle_grace=3 if where == "timeouts" else 0)
    async with open_server(tell_draining, timeouts=timeouts) as served:
        asks, silent = await served.connect(), await served.connect()
        for client in (asks, silent):
            assert await ask(client, b"x\n") == b"more\n"
        with takes(3):
            with takes(2):
                served.server.drain(grace=20, idle_grace=None if where == "timeouts" else 3)
                await trio.sleep(2)
                await asks.send_all(b"x\ny\n")
                assert await asks.receive_exactly(5) == b"last\n"
                if where == "call":
                    assert served.server.draining
                assert await asks.receive_exactly(5) == b"last\n"  # it was there with the first one
                assert await asks.receive_some() == b""
            assert await silent.receive_some() == b""


async def test_told_again_the_idle_grace_and_the_beginning_can_only_be_earlier(autojump_clock: Any) -> None:
    with DrainScope(grace=60, idle_grace=30, delay=10) as scope:
        scope.drain()
        assert (scope.begins, scope.deadline, scope.idle_grace) == (10, 70, 30)
        scope.drain(grace=math.inf, idle_grace=50, delay=50)
        assert (scope.begins, scope.deadline, scope.idle_grace) == (10, 70, 30)
        await trio.sleep(1)
        scope.drain(idle_grace=2, delay=0)
        assert (scope.begins, scope.deadline, scope.idle_grace) == (1, 61, 2)
        await scope.wait_begun()
        assert trio.current_time() == 1


async def test_who_comes_out_of_the_queue_has_the_idle_grace_too(autojump_clock: Any) -> None:
    async with open_server(echo) as served:
        served.server.suspend()  # so that the client stands in the queue
        client = await served.connect()
        served.server.drain(grace=60, idle_grace=20)
        await trio.sleep(12)
        assert await ask(client, b"late\n") == b"late\n"


async def test_idleness_that_is_over_in_a_drain_cuts_nobody(autojump_clock: Any) -> None:
    async with connected(echo, timeouts=Timeouts(idle=10)) as (served, client):
        assert await ask(client, b"a\n") == b"a\n"
        served.server.drain(grace=60, idle_grace=30)
        assert await client.receive_some() == b""
        report = await served.server.wait_closed()
    assert (report.finished, report.cancelled, report.clean) == (1, 0, True)
    assert report.causes == {Cause.IDLE: 1}


# Delay


async def test_no_grace_is_told_as_no_grace(autojump_clock: Any) -> None:
    async with open_server(shout) as served:
        await drained(served.server, grace=0)
    assert [event.grace for event in served.recorder.of(events.DrainStarted)] == [0.0]


# Storms


class Endless(Listener):
    """A listener whose queue never ends: who comes is as fast as who accepts."""

    def __init__(self, waiting: int | None) -> None:
        self.waiting = waiting
        self.accepted = 0
        self.given: list[MemoryStream] = []
        self.is_open = True
        self.inner = MemoryListener("endless")

    @property
    def address(self) -> Any:
        return self.inner.address

    def count_waiting(self) -> int | None:
        return self.waiting

    async def wait_ready(self) -> None:
        await self.inner.wait_ready()  # until the backlog is drained, nobody comes

    def accept_nowait(self) -> Any:
        self.accepted += 1
        client, server = memory_stream_pair()
        self.given.append(client)
        client.close()
        return server, None

    @property
    def is_closed(self) -> bool:
        return self.inner.is_closed

    def close(self) -> None:
        self.inner.close()


async def test_a_storm_does_not_hold_the_drain(autojump_clock: Any) -> None:
    listener = Endless(waiting=1_000)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += not listener.is_closed and listener.accepted > 0

    async with open_server(shout, listeners=[listener]) as served:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            await drained(served.server)
            nursery.cancel_scope.cancel()
    assert listener.accepted == 1_000 + BATCH
    assert turns >= 10  # others had their turn between the batches


async def test_a_queue_that_cannot_be_counted_has_a_bound_as_well(autojump_clock: Any) -> None:
    listener = Endless(waiting=None)
    async with open_server(shout, listeners=[listener]) as served:
        await drained(served.server)
    assert listener.accepted == 4096 + BATCH


async def test_the_kernel_says_how_many_are_in_its_queue() -> None:
    (listener,) = await triosock.open_tcp_listeners(0, host="127.0.0.1")
    clients = [socket.create_connection(listener.socket.getsockname()) for _ in range(7)]
    # A client is connected a moment before it is in the queue, when its answer to the SYN-ACK has come.
    await until(lambda: listener.count_waiting() == 7)
    for client in clients:
        client.close()
    listener.close()
    assert listener.count_waiting() is None


async def test_peers_that_went_away_are_told_from_handlers_that_failed(serving: Any) -> None:
    async def fail_on_x(conn: Connection) -> None:
        async for line in conn.lines():
            if line == b"x\n":
                raise ValueError(line)

    async with serving(fail_on_x) as server:
        clients = [socket.create_connection(server.addresses[0].sockaddr) for _ in range(5)]
        await until_served(server, 5)
        server.drain(grace=20)
        await until(lambda: server._listeners[0].is_closed)
        for client in clients[:3]:
            reset(client)
        clients[3].sendall(b"x\n")
        clients[4].close()
        report = await server.wait_closed()
        clients[3].close()
    assert (report.finished, report.failed, report.left, report.cancelled) == (1, 1, 3, 0)
    assert report.causes == {Cause.FINISHED: 1, Cause.FAILED: 1, Cause.PEER: 3}


# Pooled clients, who do not look


async def test_clients_that_pool_connections_do_not_hold_the_drain(serving: Any) -> None:
    async with serving(shout, timeouts=Timeouts(close=60)) as server:
        clients = [socket.create_connection(server.addresses[0].sockaddr, timeout=5) for _ in range(1_000)]
        for client in clients:
            client.sendall(b"x\n")
        for client in clients:
            await trio.lowlevel.wait_readable(client)
            assert client.recv(10) == b"X\n"
        server.drain(grace=120)
        with trio.fail_after(60):
            report = await server.wait_closed()
        assert report.finished == 1_000
        for client in clients[:500]:
            client.sendall(b"y\n")  # without a look
        await trio.testing.wait_all_tasks_blocked(0.01)
        # Nobody is reset: not even who did not look reads an error.
        assert {client.recv(10) for client in clients} == {b""}
        for client in clients:
            client.close()


async def test_who_was_told_something_at_the_end_is_given_time_to_read_it(
    serving: Any, autojump_clock: Any
) -> None:
    async def polite(conn: Connection) -> None:
        async for line in conn.lines():
            await conn.send_all(line)
        await conn.send_all(b"bye\n")

    async with connected(polite, timeouts=Timeouts(close=2)) as (served, client):
        assert await ask(client, b"x\n") == b"x\n"
        with takes(2):
            await drained(served.server, grace=10)
        assert await client.receive_some() == b"bye\n"
