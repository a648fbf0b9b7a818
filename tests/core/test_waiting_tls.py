"""Waits under TLS: input may be decrypted already, and a hang-up of the peer is detected."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.handlers import ask
from tests.tls import client_context, dial_tls, server_context
from tests.waiting import until, until_served
from triosock import Connection
from triosock.testing import memory_stream_pair


async def test_under_tls_a_request_may_be_decrypted_already(serving: Any) -> None:
    async def by_the_byte(conn: Connection) -> None:
        while await conn.wait_request():
            await conn.send_all(await conn.receive_some(1))

    async with serving(by_the_byte, tls=server_context()) as server:
        async with await dial_tls(server) as client:
            await client.send_all(b"abc")
            got = b""
            with trio.fail_after(5):
                while len(got) < 3:
                    got += await client.receive_some()
        assert got == b"abc"


async def test_under_tls_the_end_of_the_stream_is_no_request(serving: Any) -> None:
    told: list[bool] = []

    async def handler(conn: Connection) -> None:
        while await conn.wait_request():
            told.append(True)
            await conn.send_all(await conn.receive_some())
        told.append(False)

    async with serving(handler, tls=server_context()) as server:
        async with await dial_tls(server) as client:
            assert await ask(client, b"x") == b"x"
        await until(lambda: not server.statistics().active)
    assert told == [True, False]


class Halving(trio.abc.Stream):
    """A stream that keeps the second half of what is sent from `halve()` on, until `send_rest()`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._rest: bytes | None = None

    def halve(self) -> None:
        self._rest = b""

    async def send_rest(self) -> None:
        rest, self._rest = self._rest, None
        assert rest
        await self._stream.send_all(rest)

    async def send_all(self, data: Any) -> None:
        if self._rest is None:
            return await self._stream.send_all(data)
        half = len(data) // 2
        self._rest = bytes(data[half:])
        await self._stream.send_all(data[:half])

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._stream.receive_some(max_bytes)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("is_busy", [False, True])
async def test_half_a_record_is_a_request_that_has_begun(serving: Any, dial: Any, is_busy: bool) -> None:
    go_on = trio.Event()

    async def handler(conn: Connection) -> None:
        async for line in conn.lines():
            if line == b"wait\n":
                await go_on.wait()
            await conn.send_all(line.upper())

    async with serving(handler, tls=server_context()) as server:
        halving = Halving(await dial(server))
        client = trio.SSLStream(halving, client_context(), server_hostname="localhost")
        assert await ask(client, b"first\n") == b"FIRST\n"
        await until_served(server)
        if is_busy:
            await client.send_all(b"wait\n")
            await until(lambda: not server.statistics().idle)
        halving.halve()
        await client.send_all(b"request\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        go_on.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain(grace=30)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await halving.send_rest()
        with trio.fail_after(5):
            got = b""
            while not got.endswith(b"REQUEST\n"):
                more = await client.receive_some()
                assert more
                got += more
        assert await client.receive_some() == b""
        await client.aclose()
        assert (await server.wait_closed()).clean


async def test_who_waits_for_the_peer_to_hang_up_goes_on_under_tls(serving: Any) -> None:
    heard: list[str] = []

    async def handler(conn: Connection) -> None:
        async def listen() -> None:
            await conn.wait_peer_gone()
            heard.append("gone")
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await conn.receive_exactly(1)
            await conn.send_all(b"y")
            await conn.start_tls(server_context())
            heard.append("tls")
            await trio.sleep_forever()

    async with serving(handler) as server:
        stream = await dial_tls(server)
        async with stream.transport_stream as inner:
            assert await ask(inner, b"x") == b"y"
            await stream.do_handshake()
            await until(lambda: heard)
        await until(lambda: not server.statistics().active)
    assert heard == ["tls", "gone"]


async def test_under_tls_in_memory_the_stream_underneath_tells_who_has_hung_up(autojump_clock: Any) -> None:
    one, other = memory_stream_pair()
    conn = Connection(one)
    client = trio.SSLStream(other, client_context(), server_hostname="localhost")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        await conn.start_tls(server_context())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conn.wait_peer_gone)
        await trio.testing.wait_all_tasks_blocked()
        await other.aclose()
    await conn.aclose()
