"""Bugs that were found by reading: one connection's end must never be another's, or the server's."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct

import pytest
import trio
import trio.testing

import triosock
from tests.core.test_tls import server_context
from tests.handlers import read_all, shout
from triosock import Cause, Timeouts
from triosock._core.model import events
from triosock._core.registry.registry import Entry
from triosock._core.server.handler_run import blame
from triosock._core.transport.socket import SocketWire
from triosock.testing import open_server

pytestmark = pytest.mark.usefixtures("no_leaks")


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# The end of a connection


async def test_a_client_that_resets_before_its_tls_handshake_costs_nobody_else(serving, recorder):
    # ssl closes the descriptor of a socket whose peer has gone before it began.
    async with serving(shout, tls=server_context(), observers=[recorder]) as server:
        for _ in range(3):
            client = socket.create_connection(("127.0.0.1", server.addresses[0].port))
            reset(client)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert server.statistics().ended == {Cause.HANDSHAKE: 3}
        assert server.statistics().active == 0
    assert len(recorder.of(events.HandshakeRefused)) == 3


async def test_a_connection_may_be_aborted_while_it_waits_for_its_peers_goodbye(serving, dial):
    seen = []

    async def handler(conn):
        seen.append(conn)

    async with serving(handler) as server:
        client = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert seen[0].entry.stage == "closing"
        seen[0].abort()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().ended == {Cause.FINISHED: 1}
        await client.aclose()


async def test_a_task_that_still_reads_when_the_handler_returns_costs_its_own_connection(serving, dial):
    async with trio.open_nursery() as others:

        async def handler(conn):
            others.start_soon(read, conn)
            await trio.testing.wait_all_tasks_blocked(0.01)

        async def read(conn):
            with pytest.raises(trio.ClosedResourceError):
                await conn.receive_some()

        async with serving(handler) as server:
            client = await dial(server)
            assert await read_all(client) == b""
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert server.statistics().ended == {Cause.FINISHED: 1}
            await client.aclose()


@pytest.mark.parametrize("take", [socket.socket.close, lambda sock: socket.close(sock.detach())])
async def test_a_handler_that_takes_the_socket_away_costs_its_own_connection(serving, dial, take):
    async def handler(conn):
        take(conn.transport)

    async with serving(handler) as server:
        client = await dial(server)
        assert await read_all(client) == b""
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().ended == {Cause.FINISHED: 1}
        await client.aclose()


async def test_a_context_for_clients_is_refused_before_anything_is_opened():
    with pytest.raises(ValueError, match="tls must be a context for servers"):
        await triosock.serve_tcp(shout, 0, tls=ssl.create_default_context())


# Whose fault it was


async def fail_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("planned")


async def test_a_clean_up_that_fails_when_the_handler_is_cut_costs_its_own_connection(
    serving, dial, recorder
):
    # The nursery raises the cancellation and the failure in one group, which is no Exception.
    async def handler(conn):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await conn.receive_some()

    async with serving(handler, observers=[recorder]) as server:
        client = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain(grace=0)
        report = await server.wait_closed()
        assert (report.drained, report.cancelled) == (True, 1)
        await client.aclose()
    (failed,) = recorder.of(events.HandlerFailed)
    assert [type(error) for error in failed.error.exceptions] == [ValueError]
    (closed,) = recorder.of(events.ConnectionClosed)
    assert (closed.cause, closed.error) == (Cause.DRAIN, failed.error)


async def test_an_error_handler_whose_clean_up_fails_when_it_is_cut_costs_the_same_connection(
    serving, dial, recorder
):
    async def handler(conn):
        raise KeyError("planned")

    async def on_error(error, conn):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await trio.sleep_forever()

    async with serving(handler, on_error=on_error, observers=[recorder]) as server:
        client = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain(grace=0)
        assert (await server.wait_closed()).drained
        await client.aclose()
    assert len(recorder.of(events.HandlerFailed)) == 2


async def test_on_error_raise_gives_the_whole_group(serving, dial):
    async def handler(conn):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await conn.receive_some()

    with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
        async with serving(handler, on_error="raise") as server, await dial(server):
            await trio.testing.wait_all_tasks_blocked(0.01)
            server.drain(grace=0)
            await trio.sleep_forever()


async def test_a_peer_whose_reset_two_tasks_notice_is_no_failure_of_the_handler(serving, recorder):
    async def handler(conn):
        async def read():
            try:
                await conn.receive_some()
            finally:
                with pytest.raises(trio.BrokenResourceError):
                    await conn.send_all(b"more")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)

    async with serving(handler, observers=[recorder]) as server:
        client = socket.create_connection(("127.0.0.1", server.addresses[0].port))
        await trio.testing.wait_all_tasks_blocked(0.01)
        reset(client)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert server.statistics().ended == {Cause.PEER: 1}
    assert not recorder.of(events.HandlerFailed)


def test_the_gravest_of_several_causes_counts():
    class Served:
        class wire:
            is_closed = True
            failure = None

    ours, peers = ValueError(), triosock.Incomplete("a line", b"")
    closed, late = trio.ClosedResourceError(), triosock.RequestTimedOut()
    for errors, cause in [
        ([ours, peers, closed], Cause.FAILED),
        ([late, peers], Cause.REQUEST),
        ([peers, closed], Cause.PEER),
        ([closed, ExceptionGroup("", [closed])], Cause.FINISHED),
    ]:
        assert blame(ExceptionGroup("", errors), Served()) is cause


# Times and marks


async def test_proxy_header_and_tls_share_one_handshake_timeout(autojump_clock):
    options = {"proxy": True, "tls": server_context(), "timeouts": Timeouts(handshake=10)}
    async with open_server(shout, **options) as served:
        client = await served.connect()
        await trio.sleep(8)
        await client.send_all(b"PROXY UNKNOWN\r\n")
        await trio.sleep(3)
    (closed,) = served.recorder.of(events.ConnectionClosed)
    assert (closed.cause, closed.duration) == (Cause.HANDSHAKE, pytest.approx(10))


@pytest.mark.parametrize("in_block", [False, True])
async def test_a_request_that_is_cut_is_told_to_be_over(autojump_clock, in_block):
    async def handler(conn):
        async for _ in conn.lines():
            async with conn.request() if in_block else contextlib.nullcontext():
                await trio.sleep_forever()

    async with open_server(handler) as served:
        client = await served.connect()
        await client.send_all(b"a\n")
        await trio.testing.wait_all_tasks_blocked()
        served.server.drain(grace=1)
        await served.server.wait_closed()
    assert len(served.recorder.of(events.RequestStarted)) == 1
    (finished,) = served.recorder.of(events.RequestFinished)
    assert (finished.cause, finished.duration) == (Cause.DRAIN, 1)


async def test_a_peer_that_never_stops_sending_does_not_keep_others_from_their_turn():
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        other.setblocking(False)
        wire = SocketWire(one, Entry(accepted=trio.current_time()))
        with pytest.raises(BlockingIOError):
            while True:
                other.send(b"x" * 50_000)
        other.shutdown(socket.SHUT_WR)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await wire.linger()
            assert turns >= 1
            nursery.cancel_scope.cancel()
        wire.close_now()


async def test_a_second_reader_in_the_same_moment_does_not_spoil_the_first(serving, dial):
    async def handler(conn):
        async def also_read() -> None:
            with pytest.raises(trio.BusyResourceError):
                await conn.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(also_read)
            async for _ in conn.lines():
                pass

    async with serving(handler) as server:
        # Which task comes first in a moment is drawn by lot: several times, so that each order occurs.
        clients = [await dial(server) for _ in range(10)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain(grace=60)
        with trio.fail_after(10):
            assert (await server.wait_closed()).finished == len(clients)
        for client in clients:
            await client.aclose()
