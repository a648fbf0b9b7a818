"""Whose fault an exception of a handler is, by the table in `faults.py`, and how its connection ends."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
from typing import Any

import pytest
import trio
import trio.testing
import trustme

import triosock
from tests.handlers import read_all, read_to_reset, shout
from triosock import Cause, Connection, FrameTooLarge, Incomplete, RequestTimedOut, Timeouts
from triosock.testing import DatagramNetwork, open_server

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


async def too_large(conn: Connection) -> None:
    async for _ in conn.lines(max_bytes=4):
        pass


async def incomplete(conn: Connection) -> None:
    await conn.receive_exactly(100)


async def slow_block(conn: Connection) -> None:
    await conn.receive_some()
    async with conn.request(timeout=1):
        await trio.sleep_forever()


async def slow_line(conn: Connection) -> None:
    async for _ in conn.lines():
        await trio.sleep_forever()


async def own_bug(conn: Connection) -> None:
    await conn.receive_some()
    raise ValueError("planned")


async def grouped(conn: Connection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(too_large, conn)
        nursery.start_soon(trio.sleep_forever)


ANSWERED = [
    (too_large, FrameTooLarge, Cause.PEER),
    (incomplete, Incomplete, Cause.PEER),
    (slow_block, RequestTimedOut, Cause.REQUEST),
    (slow_line, RequestTimedOut, Cause.REQUEST),
    (own_bug, ValueError, Cause.FAILED),
    (grouped, ExceptionGroup, Cause.PEER),
]


@pytest.mark.parametrize(("handler", "kind", "cause"), ANSWERED)
async def test_the_function_is_called_and_its_answer_arrives(
    handler: Any, kind: type[Exception], cause: Cause, autojump_clock: Any
) -> None:
    async def answer(error: Exception, conn: Connection) -> None:
        assert isinstance(error, kind)
        await conn.send_all(f"sorry: {type(error).__name__}".encode())

    async with open_server(handler, on_error=answer, timeouts=Timeouts(request=2)) as served:
        client = await served.connect()
        await client.send_all(b"hello\n")
        if handler is incomplete:
            await client.send_eof()
        assert await read_all(client) == f"sorry: {kind.__name__}".encode()
    assert served.server.statistics().ended == {cause: 1}


@pytest.mark.parametrize(("handler", "kind", "cause"), ANSWERED[:4])
async def test_only_what_is_the_handlers_own_fault_is_raised(
    handler: Any, kind: type[Exception], cause: Cause, autojump_clock: Any
) -> None:
    async with open_server(handler, on_error="raise", timeouts=Timeouts(request=2)) as served:
        client = await served.connect()
        await client.send_all(b"hello\n")
        if handler is incomplete:
            await client.send_eof()
        with contextlib.suppress(trio.BrokenResourceError):
            assert await client.receive_some() == b""
        again = await served.connect()
        await again.send_all(b"x\n")
    assert cause in served.server.statistics().ended


async def test_a_peer_that_resets_ends_no_server_and_nobody_is_called(serving: Any) -> None:
    called: list[Exception] = []

    async def note(error: Exception, conn: Connection) -> None:
        called.append(error)

    for on_error in ("raise", note):
        async with serving(shout, on_error=on_error) as server:
            client = socket.create_connection(server.addresses[0].sockaddr)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.testing.wait_all_tasks_blocked(0.01)
            client.close()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert server.statistics().ended == {Cause.PEER: 1}
    assert called == []


async def test_a_function_that_takes_too_long_is_cut(autojump_clock: Any) -> None:
    async def never(error: Exception, conn: Connection) -> None:
        await trio.sleep_forever()

    async with open_server(own_bug, on_error=never, timeouts=Timeouts(handshake=3)) as served:
        client = await served.connect()
        await client.send_all(b"x")
        began = trio.current_time()
        assert await read_to_reset(client) == b""
        assert trio.current_time() - began == pytest.approx(3)


async def test_the_deadline_of_a_drain_cuts_the_function_too(autojump_clock: Any) -> None:
    async def never(error: Exception, conn: Connection) -> None:
        await trio.sleep_forever()

    async with open_server(slow_line, on_error=never, timeouts=Timeouts(request=1)) as served:
        client = await served.connect()
        await client.send_all(b"x\n")
        await trio.sleep(2)
        served.server.drain(grace=1)
        report = await served.server.wait_closed()
        assert report.duration == pytest.approx(1)


async def test_the_handler_of_a_datagram_that_takes_too_long_is_answered(autojump_clock: Any) -> None:
    async def slow(datagram: triosock.Datagram) -> None:
        await trio.sleep_forever()

    async def answer(error: Exception, datagram: triosock.Datagram) -> None:
        await datagram.reply(type(error).__name__.encode())

    network = DatagramNetwork()
    ours, client = network.open("server"), network.open("client")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: triosock.serve_datagram_sockets(
                slow, [ours], on_error=answer, timeouts=Timeouts(request=1), task_status=task_status
            )
        )
        await client.send(b"x", ours.address)
        assert (await client.receive())[0] == b"RequestTimedOut"
        server.drain()
        await server.wait_closed()
    client.close()
    assert server.statistics().ended == {Cause.REQUEST: 1}


# Half an answer does not look like a whole one


async def half(conn: Connection) -> None:
    await conn.receive_some()
    await conn.send_all(b"half an ans")
    raise ValueError("planned")


async def test_over_tcp_a_failed_handler_ends_with_a_reset(serving: Any, dial: Any) -> None:
    async with serving(half) as server:
        client = await dial(server)
        await client.send_all(b"x")
        assert await read_to_reset(client) in (b"half an ans", b"")
        await client.aclose()


async def test_in_memory_a_failed_handler_ends_with_a_reset() -> None:
    async with open_server(half) as served:
        client = await served.connect()
        await client.send_all(b"x")
        assert await read_to_reset(client) in (b"half an ans", b"")


@pytest.mark.parametrize("memory", [False, True])
async def test_under_tls_a_failed_handler_sends_no_close_notify(memory: bool, serving: Any) -> None:
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(ours)
    authority.configure_trust(theirs)
    async with contextlib.AsyncExitStack() as stack:
        if memory:
            served = await stack.enter_async_context(open_server(half, tls=ours))
            inner: Any = (await served.connect()).transport
        else:
            server = await stack.enter_async_context(serving(half, tls=ours))
            inner = await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)
        client = trio.SSLStream(inner, theirs, server_hostname="localhost", https_compatible=False)
        await client.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            while await client.receive_some():
                pass
        await trio.aclose_forcefully(client)


async def test_who_is_cut_in_the_middle_of_a_request_is_reset_and_who_is_idle_is_not(
    autojump_clock: Any,
) -> None:
    async with open_server(slow_line) as served:
        busy, idle = await served.connect(), await served.connect()
        await busy.send_all(b"x\n")
        await trio.sleep(6)
        served.server.drain(grace=1)
        assert await read_to_reset(busy) == b""
        assert await read_all(idle) == b""


async def test_a_function_that_returns_has_had_the_last_word(autojump_clock: Any) -> None:
    async def nothing(error: Exception, conn: Connection) -> None:
        """Says nothing, and by that: this is all."""

    async with open_server(half, on_error=nothing) as served:
        client = await served.connect()
        await client.send_all(b"x")
        assert await read_all(client) == b"half an ans"
