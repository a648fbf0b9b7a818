"""Nothing that a handler or a peer does ends another connection."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import read_all, read_lines
from tests.servers import running
from tests.waiting import PATIENCE, fails_with, until, until_ended, until_served
from triosock import Cause

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_a_connection_may_be_aborted_while_it_waits_for_its_peer_to_close(serving, dial):
    seen = []

    async def handler(conn):
        seen.append(conn)

    async with serving(handler) as server, await dial(server):
        await until(lambda: seen and seen[0].entry.stage == "closing")
        seen[0].abort()
        assert await until_ended(server) == {Cause.FINISHED: 1}


async def test_a_task_that_still_reads_when_the_handler_returns_costs_its_own_connection(serving, dial):
    async with trio.open_nursery() as others:

        async def handler(conn):
            others.start_soon(fails_with, trio.ClosedResourceError, conn.receive_some)
            await trio.testing.wait_all_tasks_blocked(0.01)

        async with serving(handler) as server, await dial(server) as client:
            assert await read_all(client) == b""
            assert await until_ended(server) == {Cause.FINISHED: 1}


@pytest.mark.parametrize("take", [socket.socket.close, lambda sock: socket.close(sock.detach())])
async def test_a_handler_that_takes_the_socket_away_costs_its_own_connection(serving, dial, take):
    async def handler(conn):
        take(conn.transport)

    async with serving(handler) as server, await dial(server) as client:
        assert await read_all(client) == b""
        assert await until_ended(server) == {Cause.FINISHED: 1}


@pytest.mark.parametrize("take", [socket.socket.close, lambda sock: socket.close(sock.detach())])
@pytest.mark.parametrize("ending", ["it fails", "it is cut", "it fails with answers that wait", "under TLS"])
async def test_one_that_takes_it_away_and_then_ends_badly_does_so_too(serving, dial, contexts, take, ending):
    tls, client_tls = contexts

    async def handler(conn):
        async for _ in conn.lines():
            await conn.send_all(b"ok\n")
            take(conn.transport)
            if ending == "it is cut":
                await trio.sleep_forever()
            raise ValueError("besides")

    async with serving(handler, tls=tls if ending == "under TLS" else None) as server:
        client = await dial(server)
        if ending == "under TLS":
            client = trio.SSLStream(client, client_tls, server_hostname="localhost")
        await client.send_all(b"x\n" if ending == "it fails" else b"x\nx\n")
        if ending == "it is cut":
            await until(lambda: server.statistics().active)
            assert await client.receive_some() == b"ok\n"
            server.drain(grace=0)
        await until(lambda: server.statistics().ended)
        assert set(server.statistics().ended) == {Cause.DRAIN if ending == "it is cut" else Cause.FAILED}
        await trio.aclose_forcefully(client)


async def test_a_second_reader_in_the_same_moment_does_not_spoil_the_first(serving, dial):
    async def handler(conn):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_with, trio.BusyResourceError, conn.receive_some)
            await read_lines(conn)

    async with serving(handler) as server:
        # Which task comes first in a moment is drawn by lot: several times, so that each order occurs.
        clients = [await dial(server) for _ in range(10)]
        await until_served(server, len(clients))
        for client in clients:
            await client.send_all(b"no newcomer\n")  # for whose first request a drain would wait
        await until(lambda: server.statistics().received == len(clients) * len(b"no newcomer\n"))
        server.drain(grace=60)
        with trio.fail_after(PATIENCE):
            assert (await server.wait_closed()).finished == len(clients)
        for client in clients:
            await client.aclose()


@pytest.mark.parametrize("take", [trio.SSLStream.aclose, trio.aclose_forcefully])
async def test_one_that_closes_trios_stream_and_fails_costs_its_own_connection(contexts, take):
    tls, _ = contexts

    async def handler(conn):
        await take(conn.transport)
        raise ValueError("besides")

    (listener,) = await trio.open_ssl_over_tcp_listeners(0, tls, host="127.0.0.1", https_compatible=True)
    async with running(triosock.serve_listeners, handler, [listener], on_error="log") as server:
        address = server.addresses[0]
        async with await trio.open_tcp_stream(address.host, address.port):
            assert await until_ended(server) == {Cause.FAILED: 1}
