"""A stall of the event loop is not the peer's silence: input that arrived meanwhile prevents a timeout.

Each test lets the loop stand still longer than the timeout, and does the peer's part meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import shout, shout_by_wait, shout_in_idle
from tests.servers import running
from tests.tls import client_context, server_context
from tests.waiting import PATIENCE, until, until_arrived, until_ended, until_served
from triosock import Cause, Sessions, Timeouts, events
from triosock.testing import Recorder

#: Of the waits, and of the stall.
SHORT, LONG = 0.2, 0.5


async def some(conn: triosock.Connection) -> None:
    while data := await conn.receive_some():
        await conn.send_all(data.upper())


async def frames(conn: triosock.Connection) -> None:
    async for frame in conn.frames(triosock.Delimited(b"\n")):
        await conn.send_all(frame.upper() + b"\n")


def client_of(server: Any) -> socket.socket:
    client = socket.create_connection(server.addresses[0].sockaddr, timeout=5)
    client.setblocking(False)
    return client


async def heard(client: socket.socket) -> bytes:
    with trio.fail_after(PATIENCE):
        await trio.lowlevel.wait_readable(client)
    return client.recv(100)


def stall(*meanwhile: Callable[[], object]) -> None:
    """Let the loop stand still; the peers act when a timeout would be over already."""
    time.sleep(LONG * 0.8)
    for act in meanwhile:
        act()
    time.sleep(LONG * 0.2)


@pytest.mark.parametrize("crowd", [1, 8], ids=["few", "many"])
@pytest.mark.parametrize("handler", [some, shout, shout_in_idle, shout_by_wait, frames])
async def test_who_sent_something_during_a_stall_is_not_idle(
    handler: Any, crowd: int, serving: Any, recorder: Recorder
) -> None:
    async with serving(handler, timeouts=Timeouts(idle=SHORT), observers=[recorder]) as server:
        clients = [client_of(server) for _ in range(crowd)]
        for client in clients:
            client.send(b"hello\n")
        assert [await heard(client) for client in clients] == [b"HELLO\n"] * crowd
        await trio.testing.wait_all_tasks_blocked(0.01)
        stall(*[lambda client=client: client.send(b"again\n") for client in clients])
        assert [await heard(client) for client in clients] == [b"AGAIN\n"] * crowd
        # And nothing of it stays: the next wait is as long as any other, and silence still ends it.
        for client in clients:
            client.send(b"more\n")
        assert [await heard(client) for client in clients] == [b"MORE\n"] * crowd
        assert [await heard(client) for client in clients] == [b""] * crowd
        for client in clients:
            client.close()
        await until(lambda: not server.statistics().active)
        assert server.statistics().ended == {Cause.IDLE: crowd}


async def test_the_rest_of_a_request_that_came_during_a_stall_is_heard(serving: Any) -> None:
    async with serving(shout, timeouts=Timeouts(request=SHORT)) as server:
        with client_of(server) as client:
            client.send(b"hel")
            await until_arrived(lambda: server.statistics().received == 3)
            stall(lambda: client.send(b"lo\n"))
            assert await heard(client) == b"HELLO\n"


async def test_a_request_that_is_late_by_itself_is_cut_after_a_stall_too(
    serving: Any, mock_clock: trio.testing.MockClock, recorder: Recorder
) -> None:
    async with serving(shout, timeouts=Timeouts(request=SHORT), observers=[recorder]) as server:
        with client_of(server) as client:
            client.send(b"hel")
            await until_arrived(lambda: server.statistics().received == 3)
            mock_clock.jump(LONG * 0.8)  # a stall, for a clock that only the test moves
            client.send(b"l")
            mock_clock.jump(LONG * 0.2)
            began = trio.current_time()
            await until_arrived(lambda: server.statistics().received == 4)
            mock_clock.autojump_threshold = 0
            await recorder.wait_for(events.ConnectionClosed)
            # As much longer as the loop stood still, and no longer.
            assert trio.current_time() - began < SHORT + LONG


async def test_a_peer_that_took_something_during_a_stall_is_not_stuck(serving: Any) -> None:
    async def pour(conn: triosock.Connection) -> None:
        await conn.send_all(b"x" * 8_000_000)
        await conn.send_all(b"done")

    async with serving(pour, timeouts=Timeouts(send=SHORT)) as server:
        with client_of(server) as client:
            await until_served(server)
            received = bytearray()

            def take() -> None:
                with contextlib.suppress(BlockingIOError):
                    while data := client.recv(1_000_000):
                        received.extend(data)

            stall(take)
            with trio.fail_after(PATIENCE):
                while not received.endswith(b"done"):
                    await trio.lowlevel.wait_readable(client)
                    take()
            assert len(received) == 8_000_004


async def test_a_handshake_whose_next_step_came_during_a_stall_goes_on(serving: Any) -> None:
    async with serving(shout, tls=server_context(), timeouts=Timeouts(handshake=SHORT)) as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        talk = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with client_of(server) as client:
            await until_served(server)
            with pytest.raises(ssl.SSLWantReadError):
                talk.do_handshake()
            stall(lambda: client.send(outgoing.read()))
            assert (await heard(client))[:1] == b"\x16"  # a handshake record, RFC 8446, 5.1


async def test_the_end_of_stream_that_came_during_a_stall_is_heard(serving: Any) -> None:
    async def once(conn: triosock.Connection) -> None:
        await conn.send_all(await conn.receive_some())

    async with serving(once, timeouts=Timeouts(close=SHORT)) as server:
        with client_of(server) as client:
            client.send(b"hello")
            assert await heard(client) == b"hello"
            assert await heard(client) == b""
            stall(lambda: client.send(b"late"), lambda: client.shutdown(socket.SHUT_WR))
            await until_ended(server)
            # A reset would be an error: what was late was read and thrown away, and then the end.
            assert client.recv(100) == b""
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def test_a_session_whose_datagram_came_during_a_stall_goes_on() -> None:
    async def number(session: triosock.Session) -> None:
        async for _ in session:
            await session.send(str(session.id).encode())

    sessions = Sessions(idle=SHORT)
    async with running(triosock.serve_udp, number, 0, host="127.0.0.1", sessions=sessions) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(server.addresses[0].sockaddr)
            client.send(b"one")
            assert await heard(client) == b"1"
            await trio.testing.wait_all_tasks_blocked(0.01)
            stall(lambda: client.send(b"two"))
            assert await heard(client) == b"1"
            await until_ended(server)
            client.send(b"three")
            assert await heard(client) == b"2"
