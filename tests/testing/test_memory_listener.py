"""The in-memory network: its queue is the kernel's."""

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import ask, echo, read_to_reset
from tests.listening import close_while_waited_for
from triosock import MemoryAddress
from triosock.testing import MemoryListener


async def test_a_server_serves_it_without_a_socket(autojump_clock):
    listener = MemoryListener("shop")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_listeners, echo, [listener])
        assert server.addresses == (MemoryAddress("shop"),)
        client = await listener.connect()
        assert await ask(client, b"hello\n") == b"hello\n"
        client.close()
        server.drain()
    assert listener.is_closed


async def test_a_handler_sees_both_addresses_and_may_abort(autojump_clock):
    seen = []

    async def handler(conn):
        seen.extend((conn.peer, conn.local))
        conn.abort()

    listener = MemoryListener("shop")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_listeners, handler, [listener])
        client = await listener.connect()
        assert await read_to_reset(client) == b""
        client.close()
        server.drain()
    assert seen == [MemoryAddress("shop/1"), MemoryAddress("shop")]


async def test_a_client_is_connected_before_it_is_accepted():
    listener = MemoryListener()
    client = await listener.connect()
    await client.send_all(b"early")
    assert listener.pending == 1
    stream, peer = listener.accept_nowait()
    assert peer == MemoryAddress("memory/1")
    assert await stream.receive_some() == b"early"
    for one in (client, stream, listener):
        one.close()


async def test_a_client_may_have_any_address():
    listener = MemoryListener()
    client = await listener.connect(peer=triosock.TcpAddress("192.0.2.1", 1234))
    stream, peer = listener.accept_nowait()
    assert peer == triosock.TcpAddress("192.0.2.1", 1234)
    for one in (client, stream, listener):
        one.close()


async def test_accept_nowait_with_nobody_there_would_block():
    listener = MemoryListener()
    with pytest.raises(trio.WouldBlock):
        listener.accept_nowait()
    listener.close()


async def test_a_full_queue_lets_in_first_who_came_first(autojump_clock):
    listener = MemoryListener(backlog=1)
    clients, accepted = [], []

    async def connect():
        clients.append(await listener.connect())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(connect)
            await trio.testing.wait_all_tasks_blocked()
        assert (len(clients), listener.pending) == (1, 1)
        for _ in range(3):
            await listener.wait_ready()
            accepted.append(listener.accept_nowait())
    assert [peer.name for _, peer in accepted] == ["memory/1", "memory/2", "memory/3"]
    for one in (*clients, *(stream for stream, _ in accepted), listener):
        one.close()


async def test_a_cancelled_connect_leaves_the_queue(autojump_clock):
    listener = MemoryListener(backlog=1)
    first = await listener.connect()
    with trio.move_on_after(1) as scope:
        await listener.connect()
    assert scope.cancelled_caught
    listener.accept_nowait()[0].close()
    with pytest.raises(trio.WouldBlock):
        listener.accept_nowait()
    first.close()
    listener.close()


async def test_a_close_resets_the_queue_refuses_the_others_and_wakes_the_server(autojump_clock):
    listener = MemoryListener(backlog=1)
    first = await listener.connect()

    async def refused():
        with pytest.raises(ConnectionRefusedError, match="nobody listens on memory://memory"):
            await listener.connect()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused)
        await trio.testing.wait_all_tasks_blocked()
        listener.close()
        await refused()
    assert await read_to_reset(first) == b""
    first.close()


async def test_whoever_waits_for_clients_is_told_of_a_close(autojump_clock):
    listener = MemoryListener()
    await close_while_waited_for(listener)
    with pytest.raises(trio.ClosedResourceError):
        listener.accept_nowait()
    listener.close()


async def test_as_a_trio_listener_it_gives_streams():
    listener = MemoryListener()
    client = await listener.connect()
    stream = await listener.accept()
    await stream.send_all(b"hi")
    assert await client.receive_some() == b"hi"
    client.close()
    stream.close()
    await listener.aclose()
    assert listener.is_closed


@pytest.mark.parametrize(("backlog", "error"), [(0, ValueError), (True, TypeError), ("1", TypeError)])
def test_a_wrong_backlog_is_named(backlog, error):
    with pytest.raises(error, match="backlog must be"):
        MemoryListener(backlog=backlog)
