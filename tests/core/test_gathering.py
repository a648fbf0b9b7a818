"""Gathered answers: one system call for many, without a difference for the peer."""

from __future__ import annotations

import contextlib
import select
import socket

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import triosock
from tests.handlers import echo, read_all, reset
from tests.pairs import fill, served, socket_pair_at
from tests.waiting import PATIENCE, until_served
from triosock import Connection
from triosock._core.transport.socket import SocketWire
from triosock._core.transport.write_batcher import WriteBatcher
from triosock.events import ConnectionClosed

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def sends(monkeypatch):
    """The size of each piece that the kernel was given."""
    made = []
    send = SocketWire._send

    def note(self, data):
        done = send(self, data)
        made.append(done)
        return done

    monkeypatch.setattr(SocketWire, "_send", note)
    return made


async def exactly(client, size):
    """What the client gets, up to `size` bytes; not more than a few seconds are waited for them."""
    got = bytearray()
    with trio.fail_after(10):
        while len(got) < size:
            data = await client.receive_some(size - len(got))
            if not data:
                break
            got += data
    return bytes(got)


@contextlib.asynccontextmanager
async def full_connection():
    """A connection with a write batcher, whose peer has sent two lines and takes nothing; and the peer, and
    what it has to read before it takes anything.
    """
    one, other = socket.socketpair()
    one.setblocking(False)
    client = trio.SocketStream(trio.socket.from_stdlib_socket(other))
    await client.send_all(b"one\ntwo\n")
    filled = fill(one)
    async with trio.open_nursery() as nursery:
        conn = served(one, batcher=WriteBatcher(nursery))
        yield conn, client, b"x" * filled
        conn.wire.close_now()
        await client.aclose()


@contextlib.asynccontextmanager
async def gathered():
    """As `full_connection`, with an answer that is gathered; the peer has to read that, too."""
    async with full_connection() as (conn, client, filled):
        assert await anext(conn.lines()) == b"one\n"
        await conn.send_all(b"gathered\n")
        yield conn, client, filled + b"gathered\n"


async def test_answers_to_requests_that_came_together_leave_together(serving, dial, sends):
    lines = b"".join(b"%d\n" % number for number in range(16))
    async with serving(echo) as server, await dial(server) as client:
        await client.send_all(lines)
        assert await exactly(client, len(lines)) == lines
        assert sends == [len(lines)]
        await client.send_all(b"one\n")
        assert await exactly(client, 4) == b"one\n"
        assert sends == [len(lines), 4]


async def test_no_more_than_sixteen_are_gathered(serving, dial, sends):
    lines = b"line\n" * 40
    async with serving(echo) as server, await dial(server) as client:
        await client.send_all(lines)
        assert await exactly(client, len(lines)) == lines
        assert sends == [80, 80, 40]


async def test_a_turn_that_lines_take_sends_what_was_gathered_first(sends):
    """Whatever trio runs first in that turn, the write batcher or the handler again."""

    class Late:
        def schedule(self, sender):
            pass

    one, other = socket.socketpair()
    one.setblocking(False)
    with other:
        other.send(b"one\ntwo\n")
        conn = served(one, batcher=Late())
        await anext(conn.lines())
        await conn.send_all(b"one\n")
        assert sends == []
        await conn.wire.take_turn()
        assert sends == [4]
        await conn.aclose()


async def test_an_answer_is_on_its_way_though_the_handler_waits_for_something_else(serving, dial):
    asked = trio.Event()

    async def handler(conn):
        async for line in conn.lines():
            await conn.send_all(line)
            await asked.wait()  # of which only a client that has its answer can be the cause

    async with serving(handler) as server, await dial(server) as client:
        await client.send_all(b"one\ntwo\n")
        assert await exactly(client, 4) == b"one\n"
        asked.set()
        assert await exactly(client, 4) == b"two\n"


async def test_a_handler_that_ends_leaves_no_answer_behind(serving, dial):
    async def handler(conn):
        async for line in conn.lines():
            await conn.send_all(line)
            return

    async with serving(handler, timeouts=triosock.Timeouts(close=0)) as server, await dial(server) as client:
        await client.send_all(b"one\ntwo\n")
        assert await exactly(client, 4) == b"one\n"


@pytest.mark.parametrize("ending", ["failure", "cut", "aclose"])
async def test_what_was_gathered_survives_the_end_of_its_handler(serving, dial, ending):
    async def handler(conn):
        async for line in conn.lines():
            await conn.send_all(line)
            if ending == "failure":
                raise RuntimeError("after an answer")
            if ending == "cut":
                conn.entry.cut(triosock.Cause.DRAIN)
                await trio.sleep_forever()
            await conn.aclose()
            return

    async with serving(handler, on_error=forgive) as server, await dial(server) as client:
        await client.send_all(b"one\ntwo\n")
        got = b""
        with contextlib.suppress(trio.BrokenResourceError):  # the other line was never read
            got = await exactly(client, 4)
        assert got == b"one\n"


async def forgive(error, conn):
    pass


async def test_abort_sends_nothing_more(serving, dial, sends):
    async def handler(conn):
        async for line in conn.lines():
            await conn.send_all(line)
            conn.abort()
            return

    async with serving(handler) as server, await dial(server) as client:
        await client.send_all(b"one\ntwo\n")
        with pytest.raises(trio.BrokenResourceError):
            await exactly(client, 4)
        assert sends == []


async def test_what_the_kernel_does_not_take_is_sent_when_it_does(sends):
    async with gathered() as (conn, client, expected):
        await trio.testing.wait_all_tasks_blocked()
        assert sends == [0]
        assert not conn.wire.is_settled
        assert await exactly(client, len(expected)) == expected
        await conn.send_all(b"last\n")
        assert await exactly(client, 5) == b"last\n"


async def test_who_sends_while_the_flush_task_waits_comes_after_it():
    async with gathered() as (conn, client, expected), trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(conn.send_all, b"last\n")
        await trio.testing.wait_all_tasks_blocked()
        expected += b"last\n"
        assert await exactly(client, len(expected)) == expected


async def test_who_ends_the_stream_while_something_is_gathered_waits_for_it():
    for end in (Connection.send_eof, Connection.aclose):
        async with full_connection() as (conn, client, filled), trio.open_nursery() as nursery:
            async for _ in conn.lines():
                conn.wire.gathering = True
                await conn.send_all(b"gathered\n")
                if not conn.buffer.data:
                    break
            nursery.start_soon(end, conn)
            await trio.testing.wait_all_tasks_blocked()
            expected = filled + b"gathered\n" * 2
            assert await exactly(client, len(expected) + 1) == expected


async def test_a_send_timeout_bounds_what_the_flush_task_waits_for(serving, dial, recorder, autojump_clock):
    async def handler(conn):
        async for _ in conn.lines():
            conn.wire.gathering = True
            for _ in range(100):
                await conn.send_all(b"x" * 4096)
                await trio.lowlevel.checkpoint()
                conn.wire._credit = 65536  # as if each had been answered by something received

    async with serving(handler, observers=(recorder,), timeouts=triosock.Timeouts(send=5)) as server:
        client = await dial(server)
        await client.send_all(b"go\n" * 1000)
        while not recorder.of(ConnectionClosed):
            await trio.sleep(1)
        assert recorder.of(ConnectionClosed)[0].cause is triosock.Cause.SEND
        await client.aclose()


async def test_a_failure_that_nobody_saw_is_told_to_the_next_send_and_receive(serving, dial, recorder):
    gone, told = trio.Event(), []

    async def handler(conn):
        lines = conn.lines()
        await anext(lines)
        conn.wire.gathering = True
        await gone.wait()
        assert select.select([conn.transport], [], [], PATIENCE)[0], "the reset has not come"
        await conn.send_all(b"to nobody\n")
        await trio.testing.wait_all_tasks_blocked()  # the write batcher has been there
        for call in (lambda: conn.send_all(b"more\n"), conn.receive_some):
            try:
                while await call():
                    pass
            except trio.BrokenResourceError as error:
                told.append(error)
        raise told[0]

    async with serving(handler, observers=(recorder,)) as server, await dial(server) as client:
        await client.send_all(b"one\ntwo\n")
        await until_served(server)
        reset(client)
        gone.set()
        with trio.fail_after(PATIENCE):
            await recorder.wait_for(ConnectionClosed)
        assert len(told) == 2
        assert recorder.of(ConnectionClosed)[0].cause is triosock.Cause.PEER
        server.drain()


async def test_a_cancelled_send_loses_nothing_of_those_before_it():
    async with gathered() as (conn, client, expected):
        conn.wire.gathering = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conn.send_all, b"cancelled\n")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await exactly(client, len(expected)) == expected
        await conn.send_all(b"last\n")
        assert await exactly(client, 5) == b"last\n"


async def test_what_was_gathered_and_another_task_still_sends_is_no_complete_answer():
    async with gathered() as (conn, client, expected):
        more = bytes(200_000)

        async def look():
            await trio.testing.wait_all_tasks_blocked()
            assert conn.wire.is_broken_off, "an end of stream now would hide that an answer is missing"
            assert await exactly(client, len(expected + more)) == expected + more

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await conn.send_all(more)  # takes the gathered one along
        assert not conn.wire.is_broken_off


async def test_nobody_waits_for_the_descriptor_of_a_connection_that_was_closed_meanwhile():
    """Its number may have a new owner, whose own wait would fail."""
    async with gathered() as (conn, client, _):
        assert not conn.wire.flush_nowait()  # as the write batcher does, who then starts push()
        conn.wire.close_now()
        one, other = socket_pair_at(conn.wire._fd)
        with one, other:
            fill(one)
            with trio.fail_after(5):
                await conn.wire.push()
        assert conn.wire.is_settled
        await client.aclose()


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 9000)),
        st.tuples(st.just("large"), st.integers(60_000, 300_000)),
        st.tuples(st.just("file"), st.integers(0, 9000)),
        st.tuples(st.just("raw"), st.integers(1, 100)),
        st.tuples(st.sampled_from(["next", "yield", "might", "gather", "do not"]), st.just(0)),
    ),
    max_size=30,
)


async def act(conn, lines, action, size, file):
    """Do it, and return what the peer should get of it."""
    data = bytes(index % 251 for index in range(size))
    match action:
        case "send" | "large":
            await conn.send_all(data)
        case "file":
            file.seek(0)
            file.truncate()
            file.write(data)
            await conn.send_file(file, offset=0)
        case "raw":
            conn.transport  # noqa: B018  # has to flush
            if conn.wire.is_settled:
                await conn.wire._send_rest(memoryview(data), 0)
            else:
                data = b""
        case "next":
            await anext(lines)
        case "yield":
            await trio.lowlevel.checkpoint()
        case "might":
            await conn.wait_send_all_might_not_block()
        case "gather" | "do not":
            conn.wire.gathering = action == "gather"
    return data


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS, ending=st.sampled_from(["eof", "close", "nothing"]))
def test_in_whatever_way_it_is_sent_all_arrives_in_order(actions, ending, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "gathered"
    sent = bytearray()

    async def write(conn):
        lines = conn.lines()
        with open(path, "w+b", buffering=0) as file:
            for action, size in actions:
                sent.extend(await act(conn, lines, action, size, file))
        with contextlib.suppress(StopAsyncIteration):
            while True:  # what is unread at the end would be a reset
                await anext(lines)
        if ending == "eof":
            await conn.send_eof()
        elif ending == "close":
            await conn.aclose()
        else:
            await conn.wire.settle()
            conn.wire.close_now()

    async def main():
        one, other = socket.socketpair()
        one.setblocking(False)
        client = trio.SocketStream(trio.socket.from_stdlib_socket(other))
        async with trio.open_nursery() as nursery:
            conn = served(one, batcher=WriteBatcher(nursery))
            await client.send_all(b"line\n" * len(actions))
            await client.send_eof()
            nursery.start_soon(write, conn)
            with trio.fail_after(20):
                got = await read_all(client)
        conn.wire.close_now()
        await client.aclose()
        assert got == sent

    trio.run(main)
