"""Clients that do their worst: each costs the server its own connection, in bounded time, and nobody else
anything.
"""

import socket

import pytest
import trio
import trio.testing

import triosock
from tests import handlers
from tests.handlers import ask_line, say_bye
from tests.servers import connected
from tests.tls import server_context
from triosock import Limits, Timeouts
from triosock._core.model.events import (
    Cause,
    ConnectionClosed,
    ConnectionOpened,
    HandlerFailed,
    HandshakeRefused,
)
from triosock.testing import cancel_at_every_checkpoint, no_leaks, open_server

#: More than any timeout below; on a virtual clock it costs nothing to wait for it.
PATIENCE = 50


async def shout(conn):
    async for line in conn.lines(max_bytes=1_000):
        await conn.send_all(line.upper())


async def assert_serves(served):
    client = await served.connect()
    assert await ask_line(client, b"hello\n") == b"HELLO\n"
    await client.aclose()


async def ended(served, number=1):
    """Return how the connection with this number ended."""
    closed = served.recorder.of(ConnectionClosed)
    with trio.fail_after(PATIENCE):
        while not [event for event in closed if event.connection == number]:
            await served.recorder.wait_for(ConnectionClosed, len(closed) + 1)
            closed = served.recorder.of(ConnectionClosed)
    return next(event for event in closed if event.connection == number)


# Slow clients, endless lines, clients that do not read


@pytest.mark.parametrize("pause", [0.1, 1, 4])
async def test_a_slow_loris_is_cut_by_the_request_deadline(autojump_clock, pause):
    async with connected(shout, timeouts=Timeouts(idle=5, request=10)) as (served, client):
        began = trio.current_time()
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(PATIENCE):
            while True:
                await client.send_all(b"x")
                await trio.sleep(pause)
        event = await ended(served)
        assert event.cause is Cause.REQUEST
        assert event.time - began == pytest.approx(10)
        await assert_serves(served)


async def test_a_slow_loris_before_its_first_byte_is_cut_by_the_idle_timeout(autojump_clock):
    async with open_server(shout, timeouts=Timeouts(idle=5, request=10, close=1)) as served:
        began = trio.current_time()
        client = await served.connect()
        assert await client.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(5)
        assert (await ended(served)).cause is Cause.IDLE


async def test_a_slow_proxy_header_is_cut_by_the_handshake_timeout(autojump_clock):
    async with connected(shout, timeouts=Timeouts(handshake=3), proxy=True) as (served, client):
        with pytest.raises(trio.BrokenResourceError):
            for byte in b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n":
                await client.send_all(bytes([byte]))
                await trio.sleep(0.5)
        event = await ended(served)
        assert (event.cause, event.duration) == (Cause.HANDSHAKE, pytest.approx(3))
        assert served.recorder.of(HandshakeRefused)


@pytest.mark.parametrize("size", [1, 300, 10_000])
async def test_an_endless_line_costs_no_more_than_its_limit(autojump_clock, size):
    async with connected(shout) as (served, client):
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(PATIENCE):
            while True:
                await client.send_all(b"x" * size)
                await trio.sleep(0.001)  # without it no time would pass on a virtual clock
        event = await ended(served)
        assert event.cause is Cause.PEER
        assert isinstance(event.error, triosock.FrameTooLarge)
        assert not served.recorder.of(HandlerFailed)
        await assert_serves(served)


@pytest.mark.parametrize("takes", [0, 3])
async def test_a_client_that_does_not_read_is_cut_by_the_send_timeout_from_its_last_progress(
    autojump_clock, takes
):
    async def talk(conn):
        while True:
            await conn.send_all(b"x" * 100_000)

    async with connected(talk, timeouts=Timeouts(send=10)) as (served, client):
        for _ in range(takes):
            await trio.sleep(8)
            await client.receive_some()
        began = trio.current_time()
        event = await ended(served)
        assert event.cause is Cause.SEND
        assert event.time - began == pytest.approx(10)


async def test_a_client_that_does_not_close_is_left_after_the_close_timeout(autojump_clock):
    async with open_server(say_bye, timeouts=Timeouts(close=2)) as served:
        began = trio.current_time()
        client = await served.connect()
        event = await ended(served)
        assert event.cause is Cause.FINISHED
        assert event.time - began == pytest.approx(2)
        assert await client.receive_some() == b"bye"


# Clients that reset


async def at_once(client):
    pass


async def before_it_is_answered(client):
    await client.send_all(b"hello\n")


async def in_the_middle_of_a_line(client):
    await client.send_all(b"hel")


async def after_an_answer(client):
    await client.send_all(b"hello\n")
    await client.receive_some()


async def after_the_end_of_its_stream(client):
    await client.send_all(b"hello\n")
    await client.send_eof()


async def with_much_unread(client):
    for _ in range(50):
        await client.send_all(b"x" * 90 + b"\n")


POINTS = [
    at_once,
    before_it_is_answered,
    in_the_middle_of_a_line,
    after_an_answer,
    after_the_end_of_its_stream,
    with_much_unread,
]


async def open_listeners(network):
    return None if network == "memory" else await triosock.open_tcp_listeners(0, host="127.0.0.1")


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("network", ["memory", "tcp"])
async def test_a_client_that_resets(network, point, settled):
    with no_leaks():
        async with connected(
            shout, listeners=await open_listeners(network), limits=Limits(max_connections=1)
        ) as (served, client):
            await point(client)
            if settled:
                await trio.testing.wait_all_tasks_blocked()
            client.abort()
            await assert_serves(served)
            assert not served.recorder.of(HandlerFailed)
            causes = served.server.statistics().ended
    assert set(causes) <= {Cause.PEER, Cause.FINISHED}


@pytest.mark.parametrize("point", POINTS)
async def test_a_client_that_resets_and_a_server_that_is_cancelled(autojump_clock, point):
    async def scenario():
        async with connected(shout) as (served, client):
            await point(client)
            client.abort()
            await served.recorder.wait_for(ConnectionOpened)

    await cancel_at_every_checkpoint(scenario)


async def test_a_client_that_resets_in_the_kernels_queue():
    """Linux hands such a connection over all the same; the first read finds the reset."""
    (listener,) = await triosock.open_tcp_listeners(0, host="127.0.0.1")
    async with open_server(shout, listeners=[listener]) as served:
        served.server.suspend()
        for _ in range(3):
            handlers.reset(socket.create_connection(listener.address.sockaddr))
        served.server.resume()
        await assert_serves(served)
        assert not served.recorder.of(HandlerFailed)


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01", b"GET / HTTP/1.0\r\n\r\n", b"\0" * 1_000])
async def test_a_client_that_leaves_in_the_tls_handshake_or_speaks_something_else(first):
    (listener,) = await triosock.open_tcp_listeners(0, host="127.0.0.1")
    with no_leaks():
        async with connected(shout, listeners=[listener], tls=server_context()) as (served, client):
            await client.send_all(first)
            await client.send_eof()
            event = await served.recorder.wait_for(HandshakeRefused)
            assert isinstance(event.error, triosock.HandshakeFailed)
            assert (await ended(served)).cause is Cause.HANDSHAKE
            assert not served.recorder.of(HandlerFailed)


async def test_many_clients_that_come_and_go_leave_nothing(autojump_clock):
    with no_leaks():
        async with open_server(shout, limits=Limits(max_connections=5)) as served:

            async def one(number):
                client = await served.connect()
                await POINTS[number % len(POINTS)](client)
                client.abort()

            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(one, number)
            await assert_serves(served)
            assert served.server.statistics().peak <= 5
        assert served.server.statistics().accepted == 101


@pytest.mark.parametrize(
    ("method", "arguments", "timeouts", "cause"),
    [
        ("send_all", [b"x" * 1_000_000], Timeouts(send=10), Cause.SEND),
        ("receive_some", [], Timeouts(idle=10), Cause.IDLE),
    ],
    ids=["sender", "receiver"],
)
async def test_a_second_caller_does_not_disarm_the_timeout_of_the_first(
    autojump_clock, method, arguments, timeouts, cause
):
    async def handle(conn):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(getattr(conn, method), *arguments)
            await trio.sleep(1)
            with pytest.raises(trio.BusyResourceError):
                await getattr(conn, method)(*arguments)

    async with connected(handle, timeouts=timeouts) as (served, _):
        event = await ended(served)
        assert (event.cause, event.duration) == (cause, pytest.approx(10))
