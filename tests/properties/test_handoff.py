"""The invariant: whoever was let in is counted exactly once, from accept to close, wherever a cancel strikes.

`cancel_at_every_checkpoint` asserts it: the registry is checked after every step of every task, and after
each run nothing may be left. Here it is given whole servers, each with several clients, a limit and what
comes after it.
"""

import functools

import pytest
import trio

import triosock
from tests.handlers import ask_line, say_sorry, shout
from triosock import Limits, Timeouts
from triosock.testing import cancel_at_every_checkpoint, open_server


async def shout_in_a_child(conn):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shout, conn)


async def one_client(served):
    """Say one line; be answered, turned away or left waiting until somebody else has gone."""
    try:
        client = await served.connect()
    except ConnectionRefusedError:
        return  # it drains already
    try:
        await client.send_all(b"hello\n")
        await client.send_eof()
        while await client.receive_some():
            pass
    except trio.BrokenResourceError:
        pass  # turned away, with the line unread
    finally:
        await client.aclose()


async def several_clients(handler, limits, count=3, drain=None, **options):
    async with open_server(handler, limits=limits, **options) as served:
        with trio.fail_after(50):
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(one_client, served)
                if drain is not None:
                    nursery.start_soon(drain, served.server)
    numbers = served.server.statistics()
    assert numbers.peak <= limits.max_connections
    assert numbers.accepted == sum(numbers.ended.values()) + numbers.refused.get("drain", 0)
    assert numbers.active == numbers.queued == 0


@pytest.mark.parametrize("whose", ["scenario", "handlers"])
@pytest.mark.parametrize("overflow", ["wait", "reject", say_sorry])
@pytest.mark.parametrize("most", [1, 2])
async def test_under_limits(autojump_clock, most, overflow, whose):
    limits = Limits(max_connections=most, overflow=overflow)
    await cancel_at_every_checkpoint(functools.partial(several_clients, shout, limits), whose=whose)


@pytest.mark.parametrize("whose", ["scenario", "handlers"])
async def test_with_tasks_of_the_handlers_own(autojump_clock, whose):
    limits = Limits(max_connections=1)
    await cancel_at_every_checkpoint(
        functools.partial(several_clients, shout_in_a_child, limits, 2), whose=whose
    )


async def test_with_limits_per_peer(autojump_clock):
    limits = Limits(max_connections=2, max_connections_per_peer=1, max_connections_per_network=1)
    await cancel_at_every_checkpoint(functools.partial(several_clients, shout, limits))


async def test_with_a_proxy_header(autojump_clock):
    async def client(served):
        stream = await served.connect()
        assert await ask_line(stream, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello\n") == b"HELLO\n"

    async def scenario():
        limits = Limits(max_handshakes=1)
        async with open_server(shout, limits=limits, proxy=True) as served:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client, served)
                nursery.start_soon(client, served)

    await cancel_at_every_checkpoint(scenario)


@pytest.mark.parametrize("overflow", ["wait", "reject", say_sorry])
@pytest.mark.parametrize("grace", [0, 5])
async def test_a_drain_at_any_moment(autojump_clock, grace, overflow):
    """Instead of the cancellation a drain comes, at each moment in turn."""
    limits = Limits(max_connections=1, overflow=overflow)
    for checkpoints in range(40):

        async def drain(server, checkpoints=checkpoints):
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            server.drain(grace=grace)

        await several_clients(shout, limits, drain=drain)


@pytest.mark.parametrize("most", [1, 2])
async def test_a_cancellation_in_the_middle_of_a_drain(autojump_clock, most):
    limits = Limits(max_connections=most)

    async def drain(server):
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        server.drain(grace=1)

    await cancel_at_every_checkpoint(functools.partial(several_clients, shout, limits, drain=drain))


async def test_over_real_sockets():
    limits = Limits(max_connections=1)

    async def scenario():
        listeners = await triosock.open_tcp_listeners(0, host="127.0.0.1")
        await several_clients(shout, limits, 2, listeners=listeners, timeouts=Timeouts(close=5))

    await cancel_at_every_checkpoint(scenario)


async def test_over_a_unix_socket(tmp_path):
    path = tmp_path / "socket"

    async def scenario():
        assert not path.exists()
        await several_clients(shout, Limits(), 2, listeners=[triosock.open_unix_listener(path)])

    await cancel_at_every_checkpoint(scenario)
    assert not path.exists()
