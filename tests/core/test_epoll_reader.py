"""The epoll reader: no input is missed, no event reaches a stranger, and it outlives whoever may wait for it.
And the checkpoints underneath.
"""

from __future__ import annotations

import contextlib
import select
import socket

import pytest
import trio
import trio.testing

from tests.handlers import echo, echo_bytes
from tests.pairs import fill, moved_to, served, socket_pair, tcp_pair
from tests.waiting import PATIENCE, fails_with, until, until_served
from triosock import Connection, Timeouts
from triosock._core.transport import checkpoints, socket_receive
from triosock._core.transport import epoll as epoll_module
from triosock._core.transport.epoll import HAS_EPOLL, EpollReader

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(not HAS_EPOLL, reason="no epoll here"),
]


@pytest.fixture
def crowded(monkeypatch):
    """Servers use the epoll reader for their first connection, too."""
    monkeypatch.setattr(epoll_module, "_CROWD", 1)


@contextlib.asynccontextmanager
async def running():
    async with trio.open_nursery() as nursery:
        epoll_reader = EpollReader()
        nursery.start_soon(epoll_reader.run)
        for _ in range(epoll_module._CROWD):
            epoll_reader.users += 1
        try:
            yield epoll_reader
        finally:
            for _ in range(epoll_module._CROWD):
                epoll_reader.leave()
            epoll_reader.retire()


@contextlib.asynccontextmanager
async def pair(sockets=tcp_pair):
    async with running() as epoll_reader:
        one, other = sockets()
        conn = served(one, epoll_reader=epoll_reader)
        yield conn, other
        await conn.aclose()
        other.close()


async def blocked():
    await trio.testing.wait_all_tasks_blocked(0.01)


async def once_all_wait(*acts):
    await blocked()
    for act in acts:
        act()


async def test_a_connection_with_an_epoll_reader_is_a_half_closeable_stream_by_trios_own_checks():
    async with running() as epoll_reader:

        async def make():
            return tuple(served(sock, epoll_reader=epoll_reader) for sock in tcp_pair())

        async def make_clogged():
            sockets = socket_pair()
            for sock in sockets:
                fill(sock)
            return tuple(served(sock, epoll_reader=epoll_reader) for sock in sockets)

        await trio.testing.check_half_closeable_stream(make, make_clogged)


@pytest.mark.parametrize("sockets", [tcp_pair, socket_pair])
async def test_input_wakes_whoever_waits_and_what_came_while_nobody_waited_is_found(sockets):
    async with pair(sockets) as (conn, other), trio.open_nursery() as nursery:
        seen = []

        async def read():
            seen.append(await conn.receive_some())

        nursery.start_soon(read)
        await blocked()
        other.send(b"first")
        await until(lambda: seen)
        other.send(b"second")
        await blocked()  # the epoll reader has been told, and nobody waits
        await read()
        assert seen == [b"first", b"second"]


async def test_the_first_waits_are_turns_and_only_who_stays_is_made_known_to_the_kernel(monkeypatch):
    happened, received = [], []
    add = EpollReader.add

    async def give_turn():
        happened.append("turn")
        await checkpoints.give_turn()

    def added(epoll_reader, fd, reader):
        happened.append("known")
        add(epoll_reader, fd, reader)

    monkeypatch.setattr(socket_receive, "give_turn", give_turn)
    monkeypatch.setattr(EpollReader, "add", added)
    async with pair() as (conn, other), trio.open_nursery() as nursery:

        async def read():
            received.append(await conn.receive_some())

        for data in (b"one", b"two"):
            nursery.start_soon(read)
            await blocked()
            # Four, as docs/discussion/performance.md found it; and the second wait has no more of them.
            assert happened == ["turn"] * 4 + ["known"]
            other.sendall(data)
            await until(lambda data=data: received[-1:] == [data])


@pytest.mark.parametrize("sockets", [tcp_pair, socket_pair])
async def test_an_end_that_comes_with_the_last_bytes_is_not_missed(sockets):
    async with pair(sockets) as (conn, other), trio.open_nursery() as nursery:
        nursery.start_soon(once_all_wait, lambda: other.send(b"last"), lambda: other.shutdown(socket.SHUT_WR))
        with trio.fail_after(5):
            assert await conn.receive_some() == b"last"
            assert await conn.receive_some() == b""
            assert await conn.receive_some() == b""


async def test_a_reset_wakes_whoever_waits():
    async with pair() as (conn, other), trio.open_nursery() as nursery:
        nursery.start_soon(once_all_wait, Connection(other).abort)
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await conn.receive_some()


async def test_input_and_cancellation_at_once_lose_nothing():
    async with pair() as (conn, other), trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(once_all_wait, lambda: other.send(b"kept"), scope.cancel)
            await conn.receive_some()
        assert scope.cancelled_caught
        with trio.fail_after(5):
            assert await conn.receive_some() == b"kept"


async def test_a_second_reader_is_refused_and_a_close_wakes_the_first():
    async with pair() as (conn, _), trio.open_nursery() as nursery:
        nursery.start_soon(fails_with, trio.ClosedResourceError, conn.receive_some)
        await blocked()
        with pytest.raises(trio.BusyResourceError):
            await conn.receive_some()
        await conn.aclose()


async def test_whoever_gets_a_descriptor_next_gets_its_input_and_keeps_it():
    async with running() as epoll_reader:
        async with trio.open_nursery() as nursery:
            former_end, far = tcp_pair()
            former = served(former_end, epoll_reader=epoll_reader)
            nursery.start_soon(former.receive_some)
            await blocked()
            nursery.cancel_scope.cancel()
        one, other = tcp_pair()
        one = moved_to(former_end.detach(), one)  # behind its back
        conn = served(one, epoll_reader=epoll_reader)
        async with trio.open_nursery() as nursery:

            async def talk():
                await blocked()
                await former.aclose()  # must not take the new one out
                other.send(b"for the new one")

            nursery.start_soon(talk)
            with trio.fail_after(5):
                assert await conn.receive_some() == b"for the new one"
        await conn.aclose()
        other.close()
        far.close()


# In a server


async def test_more_connections_than_it_takes_are_all_served(serving, dial):
    async with serving(echo_bytes) as server:
        clients = [await dial(server) for _ in range(20)]
        for number in range(3):
            for client in clients:
                await client.send_all(b"%d" % number)
            for client in clients:
                with trio.fail_after(5):
                    assert await client.receive_some() == b"%d" % number
        for client in clients:
            await client.aclose()


async def test_who_is_cancelled_may_still_wait_in_a_shield(crowded, serving, dial):
    heard = []

    async def handler(conn):
        try:
            await conn.receive_some()
        finally:
            with trio.move_on_after(PATIENCE, shield=True):
                await conn.send_all(b"last word?")
                heard.append(await conn.receive_some())

    async with serving(handler) as server, await dial(server) as client:
        await until_served(server)
        async with trio.open_nursery() as nursery:

            async def answer():
                assert await client.receive_some() == b"last word?"
                await blocked()
                await client.send_all(b"yes")

            nursery.start_soon(answer)
            server._connections.cancel_scope.cancel()
            await server.wait_closed()
    assert heard == [b"yes"]
    await client.aclose()


async def test_a_drain_ends_idle_waits_in_the_epoll_reader(crowded, serving, dial):
    async with serving(echo) as server, await dial(server) as client:
        await client.send_all(b"hello\n")  # so that it is no newcomer, who has five seconds
        assert await client.receive_some() == b"hello\n"
        await blocked()
        server.drain(grace=60)
        with trio.fail_after(PATIENCE):
            assert await client.receive_some() == b""
            await client.aclose()
            assert (await server.wait_closed()).clean


async def test_an_idle_timeout_ends_a_wait_in_the_epoll_reader(crowded, serving, dial, autojump_clock):
    async with serving(echo_bytes, timeouts=Timeouts(idle=3)) as server, await dial(server) as client:
        assert await client.receive_some() == b""
        assert trio.current_time() >= 3


#: How often a connection that always has input may read before one that has just got some: once for each task
#: that runs before the loop looks for input, and once while the epoll reader hands it on. At 64 KiB a time
#: that is below a millisecond.
TURNS = 4


async def test_a_connection_that_always_has_input_does_not_keep_another_waiting(crowded, serving, dial):
    reads, sent_at, waits, conns = 0, 0, [], []

    async def handler(conn):
        nonlocal reads
        if await conn.receive_exactly(1) == b"g":
            while await conn.receive_some(100):
                reads += 1
        else:
            conns.append(conn)
            while await conn.receive_some():
                waits.append(reads - sent_at)

    async with serving(handler) as server:
        with socket.create_connection(server.addresses[0].sockaddr) as polite:
            polite.sendall(b"p")
            await until(lambda: conns)
            await blocked()
            greedy = await dial(server)
            await greedy.send_all(b"g" + b"x" * 200_000)
            await until(lambda: reads)
            for _ in range(20):
                polite.sendall(b"please")
                assert select.select([conns[0].transport], [], [], PATIENCE)[0], (
                    "the kernel has not brought it"
                )
                sent_at = reads
                with trio.fail_after(PATIENCE):
                    while not waits:
                        await trio.lowlevel.checkpoint()
                assert 0 < reads < 2_000, "it must be greedy all the time"
                assert waits.pop() <= TURNS
            await greedy.aclose()


# The checkpoints


async def test_this_trio_has_messages_without_state():
    assert checkpoints.sleep is not checkpoints._sleep_by_trio
    assert checkpoints.give_turn is not trio.lowlevel.cancel_shielded_checkpoint


async def test_a_checkpoint_is_one_and_can_be_cancelled():
    with trio.testing.assert_checkpoints():
        await checkpoints.checkpoint()
    with trio.CancelScope() as scope:
        scope.cancel()
        await checkpoints.checkpoint()
    assert scope.cancelled_caught


@pytest.mark.parametrize("sleep", [checkpoints.sleep, checkpoints._sleep_by_trio])
async def test_a_sleep_ends_by_wake_or_by_cancellation_and_once(sleep):
    reason = object()
    ended = []

    async def sleeper():
        trio.lowlevel.current_task().custom_sleep_data = reason
        tasks.append(trio.lowlevel.current_task())
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await sleep()
        ended.append(scope.cancelled_caught)

    tasks, scopes = [], []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper)
        await blocked()
        checkpoints.wake(tasks[0], object())  # asleep, but for another reason
        await blocked()
        assert ended == []
        checkpoints.wake(tasks[0], reason)
        checkpoints.wake(tasks[0], reason)
        await blocked()
        nursery.start_soon(sleeper)
        await blocked()
        scopes[1].cancel()
        checkpoints.wake(tasks[1], reason)
        await blocked()
    assert ended == [False, True]
