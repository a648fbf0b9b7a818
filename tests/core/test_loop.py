"""`async for data in conn`: over sockets, over streams, and under TLS."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.pairs import tcp_pair
from tests.tls import client_context, server_context
from triosock import Connection


async def test_a_loop_over_the_bytes_ends_with_the_stream_and_takes_what_was_buffered_first(both):
    one, other = both
    await one.send_all(b"line\nand more")
    await one.send_eof()
    assert await other.receive_until(b"\n") == b"line\n"
    assert b"".join([data async for data in other]) == b"and more"
    with pytest.raises(StopAsyncIteration):
        await other.__anext__()
    assert await other.receive_some() == b""


@pytest.mark.parametrize("make", [tcp_pair, trio.testing.memory_stream_pair])
async def test_a_loop_over_the_bytes_ends_with_a_close_notify(make):
    server, client = (Connection(one) for one in make())
    heard = []
    async with server, client, trio.open_nursery() as nursery:

        async def serve():
            await server.start_tls(server_context())
            heard.extend([data async for data in server])
            await server.aclose()

        nursery.start_soon(serve)
        await client.start_tls(client_context(), server_side=False, server_hostname="localhost")
        await client.send_all(b"hello")
        await client.wire.linger()
    assert b"".join(heard) == b"hello"


async def test_two_loops_over_what_was_buffered_never_give_nothing(over_tcp):
    one, other = over_tcp
    heard = []

    async def take():
        heard.append(await other.__anext__())

    async with trio.open_nursery() as nursery:
        await one.send_all(b"line\nrest")
        assert await other.receive_until(b"\n") == b"line\n"
        nursery.start_soon(take)
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        assert heard == [b"rest"]
        await one.send_all(b"more")
    assert heard == [b"rest", b"more"]
