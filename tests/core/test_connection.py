"""Connections: the stream interface, cancellation, marking, sending files, ending."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import send_in_part
from tests.pairs import clogged_pair, memory_pair, pair, socket_pair, tcp_pair
from tests.servers import connected
from tests.waiting import fails_with
from triosock import Connection, RequestTimedOut, Timeouts
from triosock._core.registry.registry import NEVER

pytestmark = pytest.mark.usefixtures("no_leaks")


# The stream interface


async def test_a_connection_is_a_half_closeable_stream_by_trios_own_checks():
    await trio.testing.check_half_closeable_stream(pair, clogged_pair)


async def test_a_connection_over_memory_is_one_too():
    # No clogged pair: trio's own memory streams do not pass that part, whatever is around them.
    await trio.testing.check_half_closeable_stream(memory_pair, None)


@pytest.mark.parametrize("size", [0, -1])
async def test_receive_some_refuses_a_size_below_one(both, size):
    one, _ = both
    with pytest.raises(ValueError, match="max_bytes must be from 1 on"):
        await one.receive_some(size)


async def test_a_str_is_refused_with_a_hint(both):
    one, _ = both
    with pytest.raises(TypeError, match=r"data must be bytes.*encode"):
        await one.send_all("text")


async def test_a_blocking_socket_is_refused():
    one, other = socket.socketpair()
    with one, other, pytest.raises(ValueError, match="setblocking"):
        Connection(one)


async def test_something_else_is_refused():
    with pytest.raises(TypeError, match="a socket or a trio stream"):
        Connection(5)


async def test_what_was_reset_is_broken(over_tcp):
    one, other = over_tcp
    other.abort()
    with pytest.raises(trio.BrokenResourceError, match="the peer went away"):
        await one.receive_some()


# Cancellation


async def test_a_cancelled_receive_loses_nothing(both):
    one, other = both
    for method in (
        lambda: one.receive_exactly(6),
        lambda: one.receive_until(b";"),
        lambda: one.lines().__anext__(),
    ):
        await other.send_all(b"abc")
        with trio.move_on_after(0.01) as scope:
            await method()
        assert scope.cancelled_caught
        await other.send_all(b"de\n")
        assert await one.receive_exactly(6) == b"abcde\n"


async def test_a_send_that_was_cancelled_half_way_is_reported_by_the_next(over_tcp):
    one, _ = over_tcp
    await send_in_part(one, 50_000_000)
    with pytest.raises(trio.BrokenResourceError, match="ended after"):
        await one.send_all(b"more")


async def test_a_send_that_was_cancelled_before_its_first_byte_is_not(over_tcp):
    one, other = over_tcp
    with trio.CancelScope() as scope:
        scope.cancel()
        await one.send_all(b"never")
    await one.send_all(b"fine")
    assert await other.receive_some() == b"fine"


# Marking


async def test_request_raises_when_its_time_is_over(both, autojump_clock):
    one, _ = both
    with pytest.raises(triosock.RequestTimedOut, match="not done in 3 s"):
        async with one.request(timeout=3):
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(3, abs=0.1)
    assert issubclass(triosock.RequestTimedOut, trio.TooSlowError)


async def test_of_nested_deadlines_the_tightest_wins(autojump_clock):
    one, other = trio.testing.memory_stream_pair()
    conn = Connection(one, timeouts=Timeouts(request=2))
    with pytest.raises(triosock.RequestTimedOut):
        async with conn.request(timeout=50):
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(2, abs=0.1)
    with trio.move_on_after(1) as outer:
        async with conn.request(timeout=50):
            await trio.sleep_forever()
    assert outer.cancelled_caught
    assert trio.current_time() == pytest.approx(3, abs=0.1)
    await other.aclose()
    await conn.aclose()


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

    async with connected(handler) as (_, client):
        assert await client.receive_some() == b""
    assert seen == [True, True, True]


async def test_an_error_in_a_request_passes_through(both):
    with pytest.raises(KeyError):
        async with both[0].request():
            raise KeyError("x")


async def test_idle_blocks_do_not_nest(both):
    one, _ = both
    with one.idle(), pytest.raises(RuntimeError, match="in an idle"), one.idle():
        pass


# Who, and ending


async def test_a_connection_knows_both_ends():
    one, other = tcp_pair()
    name, peer = one.getsockname(), one.getpeername()
    conn = Connection(one, peer=peer)
    assert conn.local == triosock.TcpAddress(*name)
    assert conn.peer == triosock.TcpAddress(*peer)
    assert conn.id == 0
    assert conn.tls is None
    assert not conn.draining
    assert conn.transport is one
    assert "tcp://" in repr(conn)
    await conn.aclose()
    other.close()


async def test_a_connection_around_a_socket_asks_it_for_its_peer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        sock.setblocking(False)
        async with triosock.Connection(sock) as conn:
            assert conn.peer == triosock.TcpAddress(*listener.getsockname())


@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")
async def test_a_unix_peer_has_credentials(over_tcp):
    one, other = socket_pair()
    conn = Connection(one)
    assert conn.credentials() == triosock.PeerCredentials(os.getpid(), os.getuid(), os.getgid())
    assert conn.peer == triosock.UnixAddress("")
    await conn.aclose()
    other.close()
    with pytest.raises(TypeError, match="only Unix sockets"):
        over_tcp[0].credentials()


async def test_abort_wakes_whoever_waits_and_resets_the_peer(over_tcp):
    one, other = over_tcp
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails_with, trio.ClosedResourceError, one.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        one.abort()
    with pytest.raises(trio.BrokenResourceError):
        await other.receive_some()


async def test_a_stream_without_a_synchronous_close_cannot_be_aborted():
    class OnlyAsync(trio.abc.Stream):
        async def receive_some(self, max_bytes=None):
            return b""

        async def send_all(self, data):
            pass

        async def wait_send_all_might_not_block(self):
            pass

        async def aclose(self):
            pass

    conn = Connection(OnlyAsync())
    with pytest.raises(TypeError, match="cannot be closed at once"):
        conn.abort()
    with pytest.raises(TypeError, match="OnlyAsync cannot end the stream in one direction"):
        await conn.send_eof()
