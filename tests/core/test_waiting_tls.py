"""Waits under TLS: input may be decrypted already, and a hang-up of the peer is detected."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from tests.handlers import ask
from tests.tls import client_context, dial_tls, server_context
from tests.waiting import until
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
