"""Places for handshakes: who has spoken waits its turn, who is silent holds none, and the longest silent goes
first.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import ask, ask_line, reset, shout
from tests.servers import connected
from tests.tls import client_context, client_hello, dial_tls, server_context
from tests.waiting import until, until_ended
from triosock import Cause, Connection, Limits, Timeouts, events
from triosock._core.model.emitter import Emitter
from triosock._core.registry.registry import Registry
from triosock._core.stream.handshakes import Handshakes
from triosock.testing import open_server

pytestmark = pytest.mark.usefixtures("no_leaks")

HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"


async def says_hello(server: triosock.StreamServer) -> None:
    async with await dial_tls(server) as client:
        assert await ask(client, b"hello\n") == b"HELLO\n"


@pytest.fixture
def silence(serving: Any, dial: Any) -> Any:
    """`async with silence(5, **options) as (server, clients):` five who say nothing, known to the server in
    this order.
    """

    @contextlib.asynccontextmanager
    async def serve(count: int, **options: Any) -> AsyncIterator[tuple[Any, list[Any]]]:
        async with serving(shout, **options) as server:
            clients = []
            for number in range(1, count + 1):
                clients.append(await dial(server))
                await until(lambda number=number: server.statistics().accepted == number)
                await trio.testing.wait_all_tasks_blocked()
            try:
                yield server, clients
            finally:
                for client in clients:
                    await trio.aclose_forcefully(client)

    return serve


async def are_open(clients: list[trio.SocketStream], ended: int) -> list[bool]:
    """Return of each whether it is open, as soon as so many have ended and nothing else happens."""
    over: set[trio.SocketStream] = set()

    async def wait_end(client: trio.SocketStream) -> None:
        assert await client.receive_some() == b""
        over.add(client)

    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(wait_end, client)
        await until(lambda: len(over) >= ended)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    return [client not in over for client in clients]


async def test_who_is_silent_holds_no_place(silence: Any) -> None:
    async with silence(1, tls=server_context(), limits=Limits(max_handshakes=1)) as (server, _):
        await says_hello(server)


async def test_who_has_spoken_holds_one_and_others_who_have_wait_their_turn(autojump_clock: Any) -> None:
    answers: list[bytes] = []
    async with open_server(shout, tls=server_context(), limits=Limits(max_handshakes=1)) as served:
        slow = await served.connect()
        await slow.send_all(client_hello()[:20])
        await trio.testing.wait_all_tasks_blocked()
        other = await served.connect()

        async def talk() -> None:
            await other.start_tls(client_context(), server_side=False, server_hostname="localhost")
            answers.append(await ask_line(other, b"hello\n"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await trio.testing.wait_all_tasks_blocked()
            assert answers == []
            await slow.aclose()
        assert answers == [b"HELLO\n"]
        assert trio.current_time() == 0, "it was waited for, and not given up"


async def test_one_more_than_may_be_silent_cuts_the_one_that_was_so_the_longest(
    silence: Any, recorder: Any
) -> None:
    limits = Limits(max_handshakes=2)
    async with silence(4, tls=server_context(), limits=limits, observers=[recorder]) as (server, clients):
        assert await are_open(clients, ended=2) == [False, False, True, True]
        await until_ended(server, 2)
        statistics = server.statistics()
        assert statistics.refused == {"handshakes": 2}
        assert statistics.ended == {Cause.HANDSHAKE: 2}
        assert statistics.active == 2
    assert [event.reason for event in recorder.of(events.Refused)] == ["handshakes"] * 2
    first = recorder.of(events.HandshakeRefused)[:2]
    assert [event.connection for event in first] == [1, 2]
    assert [event.error for event in first] == [None, None]


async def test_no_more_than_half_of_all_connections_are_silent(silence: Any) -> None:
    async with silence(6, tls=server_context(), limits=Limits(max_connections=4)) as (server, clients):
        assert await are_open(clients, ended=4) == [False] * 4 + [True] * 2
        await says_hello(server)


async def test_one_that_has_spoken_just_now_is_not_cut(recorder: Any) -> None:
    limits = Limits(max_handshakes=2)
    registry = Registry(limits)
    places = Handshakes(limits, registry, Emitter("test", trio.current_time, [recorder]))
    pairs = [socket.socketpair() for _ in range(2)]
    cut: list[int] = []

    async def shake_hands(number: int) -> None:
        ours = pairs[number][0]
        ours.setblocking(False)
        connection = Connection(ours)
        registry.add(connection.entry)
        with connection.entry.scope:
            async with places.place(connection):
                pass
        if connection.entry.scope.cancelled_caught:
            cut.append(number)
        await connection.aclose()

    async with trio.open_nursery() as nursery:
        for number in (0, 1):
            nursery.start_soon(shake_hands, number)
            await trio.testing.wait_all_tasks_blocked()
        pairs[0][1].send(b"x")  # the first has spoken, and nobody has had a turn since
        places._cut_one()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert cut == [1]
    for pair in pairs:
        pair[1].close()
    assert [event.reason for event in recorder.of(events.Refused)] == ["handshakes"]


async def test_who_has_a_header_of_its_proxy_and_is_silent_then_holds_none_either(
    silence: Any, dial: Any
) -> None:
    limits = Limits(max_handshakes=1)
    async with silence(1, tls=server_context(), proxy=True, limits=limits) as (server, (quiet,)):
        await quiet.send_all(HEADER)
        await until(lambda: server.statistics().received == len(HEADER))
        plain = await dial(server)
        await plain.send_all(HEADER)
        client = trio.SSLStream(plain, client_context(), server_hostname="localhost")
        assert await ask(client, b"hello\n") == b"HELLO\n"
        await client.aclose()


async def test_silent_ones_of_plain_headers_are_bounded_too(silence: Any) -> None:
    async with silence(3, proxy=True, limits=Limits(max_handshakes=2)) as (_, clients):
        assert await are_open(clients, ended=1) == [False, True, True]


async def test_a_client_is_served_though_many_silent_ones_came_before(serving: Any, dial: Any) -> None:
    async with serving(shout, tls=server_context(), limits=Limits(max_handshakes=10)) as server:
        clients = [await dial(server) for _ in range(200)]
        await says_hello(server)
        assert server.statistics().active <= 11
        for client in clients:
            await trio.aclose_forcefully(client)


async def test_without_a_limit_nobody_is_cut(silence: Any) -> None:
    limits = Limits(max_handshakes=float("inf"), max_connections=float("inf"))
    async with silence(5, tls=server_context(), limits=limits) as (server, clients):
        assert await are_open(clients, ended=0) == [True] * 5
        await says_hello(server)


async def test_a_client_that_hangs_up_before_its_first_byte_is_no_more_than_that(
    silence: Any, recorder: Any
) -> None:
    async with silence(1, tls=server_context(), observers=[recorder]) as (server, (client,)):
        await client.aclose()
        await recorder.wait_for(events.ConnectionClosed)
        assert server.statistics().ended == {Cause.HANDSHAKE: 1}


async def test_a_client_that_resets_before_its_tls_handshake_costs_nobody_else(serving, recorder):
    # ssl closes the descriptor of a socket whose peer has gone before it began.
    async with serving(shout, tls=server_context(), observers=[recorder]) as server:
        for _ in range(3):
            client = socket.create_connection(("127.0.0.1", server.addresses[0].port))
            reset(client)
        assert await until_ended(server, 3) == {Cause.HANDSHAKE: 3}
        assert server.statistics().active == 0
    assert len(recorder.of(events.HandshakeRefused)) == 3


async def test_proxy_header_and_tls_share_one_handshake_timeout(autojump_clock):
    options = {"proxy": True, "tls": server_context(), "timeouts": Timeouts(handshake=10)}
    async with connected(shout, **options) as (served, client):
        await trio.sleep(8)
        await client.send_all(b"PROXY UNKNOWN\r\n")
        await trio.sleep(3)
    (closed,) = served.recorder.of(events.ConnectionClosed)
    assert (closed.cause, closed.duration) == (Cause.HANDSHAKE, pytest.approx(10))


async def test_who_is_in_its_handshake_when_the_drain_begins_is_served_like_those_in_the_queue(
    autojump_clock,
):
    async with connected(shout, tls=server_context()) as (served, client):
        await trio.testing.wait_all_tasks_blocked()
        served.server.drain(grace=10)
        await client.start_tls(client_context(), server_side=False, server_hostname="localhost")
        await trio.sleep(1)
        assert await ask_line(client, b"hello\n") == b"HELLO\n"
        assert await client.receive_some() == b""
        await client.aclose()
        report = await served.server.wait_closed()
    assert (report.finished, report.clean) == (1, True)
