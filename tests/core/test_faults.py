"""Which side caused an exception of a handler, by the table in `faults.py`, and how its connection ends."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import (
    in_a_nursery,
    own_bug,
    read_all,
    read_to_reset,
    reset,
    shout,
    slow_block,
    slow_line,
    too_large,
)
from tests.servers import connected
from tests.tls import client_context, server_context
from tests.waiting import takes, until_ended, until_served
from triosock import Cause, Connection, FrameTooLarge, Incomplete, RequestTimedOut, Timeouts
from triosock._core.model.events import HandlerFailed
from triosock._core.server.handler_run import blame
from triosock.testing import open_server


async def incomplete(conn: Connection) -> None:
    await conn.receive_exactly(100)


ANSWERED = [
    (too_large, FrameTooLarge, Cause.PEER),
    (incomplete, Incomplete, Cause.PEER),
    (slow_block, RequestTimedOut, Cause.REQUEST),
    (slow_line, RequestTimedOut, Cause.REQUEST),
    (own_bug, ValueError, Cause.FAILED),
    (in_a_nursery(too_large), ExceptionGroup, Cause.PEER),
]


@pytest.mark.parametrize(("handler", "kind", "cause"), ANSWERED)
async def test_the_function_is_called_and_its_answer_arrives(
    handler: Any, kind: type[Exception], cause: Cause, autojump_clock: Any
) -> None:
    async def answer(error: Exception, conn: Connection) -> None:
        assert isinstance(error, kind)
        await conn.send_all(f"sorry: {type(error).__name__}".encode())

    async with connected(handler, on_error=answer, timeouts=Timeouts(request=2)) as (served, client):
        await client.send_all(b"hello\n")
        if handler is incomplete:
            await client.send_eof()
        assert await read_all(client) == f"sorry: {kind.__name__}".encode()
    assert served.server.statistics().ended == {cause: 1}


@pytest.mark.parametrize(("handler", "kind", "cause"), ANSWERED[:4])
async def test_only_what_is_the_handlers_own_fault_is_raised(
    handler: Any, kind: type[Exception], cause: Cause, autojump_clock: Any
) -> None:
    async with connected(handler, on_error="raise", timeouts=Timeouts(request=2)) as (served, client):
        await client.send_all(b"hello\n")
        if handler is incomplete:
            await client.send_eof()
        with contextlib.suppress(trio.BrokenResourceError):
            assert await client.receive_some() == b""
        again = await served.connect()
        await again.send_all(b"x\n")
    assert cause in served.server.statistics().ended


class Noting(list[Exception]):
    """An `on_error` function that notes what it is called for."""

    async def __call__(self, error: Exception, conn: Connection) -> None:
        self.append(error)


async def test_a_peer_that_resets_ends_no_server_and_nobody_is_called(serving: Any) -> None:
    called = Noting()
    for on_error in ("raise", called):
        async with serving(shout, on_error=on_error) as server:
            client = socket.create_connection(server.addresses[0].sockaddr)
            await until_served(server)
            reset(client)
            assert await until_ended(server) == {Cause.PEER: 1}
    assert called == []


async def test_a_function_that_takes_too_long_is_cut(autojump_clock: Any) -> None:
    async def never(error: Exception, conn: Connection) -> None:
        await trio.sleep_forever()

    async with connected(own_bug, on_error=never, timeouts=Timeouts(handshake=3)) as (_, client):
        await client.send_all(b"x")
        with takes(3):
            assert await read_to_reset(client) == b""


# The connection of that peer: a handler may have other connections


async def broken_database(conn: Any) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.aclose()
    await ours.send_all(b"SELECT 1")


async def short_backend(conn: Any) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"abc")
    await theirs.aclose()
    await Connection(ours).receive_exactly(10)


async def talkative_backend(conn: Any) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"more than four bytes")
    await Connection(ours).receive_until(b"\n", max_bytes=4)


async def wordy_backend(conn: Any) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"more than four bytes\n")
    async for _ in Connection(ours).lines(max_bytes=4):
        pass


async def slow_backend(conn: Any) -> None:
    ours, _theirs = trio.testing.memory_stream_pair()
    async with Connection(ours).request(timeout=1):
        await trio.sleep_forever()


ELSEWHERE = [broken_database, short_backend, talkative_backend, wordy_backend, slow_backend]


@pytest.mark.parametrize("fail", ELSEWHERE)
async def test_what_happens_at_another_connection_is_the_handlers_own_affair(
    fail: Any, linked: Any, recorder: Any
) -> None:
    async def handler(conn: Connection) -> None:
        await conn.receive_some()
        await fail(conn)

    async with linked(handler, observers=[recorder]) as (server, client):
        await client.send_all(b"x")
        assert await read_to_reset(client) == b""
        assert await until_ended(server) == {Cause.FAILED: 1}
    assert len(recorder.of(HandlerFailed)) == 1


async def test_a_layer_on_the_connection_has_the_same_peer(linked: Any, recorder: Any) -> None:
    async def layered(conn: Connection) -> None:
        await Connection(trio.StapledStream(conn, conn)).receive_exactly(100)

    async def by_tls(conn: Connection) -> None:
        await Connection(trio.SSLStream(conn, server_context(), server_side=True)).receive_exactly(100)

    for handler in (layered, by_tls):
        async with linked(handler, observers=[recorder]) as (server, client):
            if handler is by_tls:
                client = trio.SSLStream(client, client_context(), server_hostname="localhost")
            await client.send_all(b"abc")
            await client.aclose()
            assert await until_ended(server) == {Cause.PEER: 1}
    assert recorder.of(HandlerFailed) == []


OWN, LARGE, LATE = ValueError("planned"), FrameTooLarge("line", 4), RequestTimedOut("planned")


@pytest.mark.parametrize(
    ("errors", "cause"),
    [
        ([OWN, LARGE, LATE], Cause.FAILED),
        ([LATE, LARGE], Cause.REQUEST),
        ([LARGE, ExceptionGroup("inner", [LARGE])], Cause.PEER),
        ([LARGE, ExceptionGroup("inner", [LARGE, OWN])], Cause.FAILED),
    ],
)
async def test_of_several_in_a_group_the_gravest_counts(errors: list[Exception], cause: Cause) -> None:
    async def handler(conn: Connection) -> None:
        raise ExceptionGroup("planned", errors)

    async def answer(error: Exception, conn: Connection) -> None:
        assert isinstance(error, ExceptionGroup)
        await conn.send_all(b"sorry")

    async with open_server(handler, on_error=answer) as served:
        assert await read_all(await served.connect()) == b"sorry"
    assert served.server.statistics().ended == {cause: 1}


def test_the_gravest_of_several_causes_counts():
    class Served:
        class wire:
            is_closed = True
            failure = None

    ours, peers = ValueError(), triosock.Incomplete("a line", b"")
    closed, late = trio.ClosedResourceError(), triosock.RequestTimedOut()
    for errors, cause in [
        ([ours, peers, closed], Cause.FAILED),
        ([late, peers], Cause.REQUEST),
        ([peers, closed], Cause.PEER),
        ([closed, ExceptionGroup("", [closed])], Cause.FINISHED),
    ]:
        assert blame(ExceptionGroup("", errors), Served()) is cause


async def test_in_a_drain_the_report_counts_by_whose_fault_it_was(autojump_clock: Any) -> None:
    async def handler(conn: Connection) -> None:
        async for line in conn.lines():
            if line == b"fail\n":
                raise OWN
            if line == b"large\n":
                raise LARGE
            if line == b"never read\n":
                await conn.send_all(bytes(1_000_000))
            if line == b"half\n":
                await conn.receive_some()
            if line == b"slow\n":
                await trio.sleep_forever()

    timeouts = Timeouts(idle=4, send=4, request=30)
    async with open_server(handler, timeouts=timeouts) as served:
        clients = [await served.connect() for _ in range(6)]
        for client, line in zip(clients, ["fail", "large", "never read", "half", "slow"], strict=False):
            await client.send_all(line.encode() + b"\n") if line in ("never read", "half", "slow") else None
        await trio.testing.wait_all_tasks_blocked()
        # Those who have said nothing yet are newcomers: the drain waits for their first requests.
        served.server.drain(grace=10)
        await trio.sleep(0)
        await clients[0].send_all(b"fail\n")
        await clients[1].send_all(b"large\n")
        await clients[5].aclose()
        await trio.sleep(1)
        await clients[1].aclose()
        report = await served.server.wait_closed()
    assert report.causes == {
        Cause.FAILED: 1, Cause.PEER: 1, Cause.SEND: 1, Cause.IDLE: 1, Cause.DRAIN: 1, Cause.FINISHED: 1
    }  # fmt: skip
    assert (report.finished, report.failed, report.left, report.cancelled) == (1, 1, 3, 1)


# After the handler has closed the connection itself


async def sends_after_aclose(conn: Connection) -> None:
    await conn.aclose()
    await conn.send_all(b"lost\n")


async def sends_after_abort(conn: Connection) -> None:
    conn.abort()
    await conn.send_all(b"lost\n")


async def sends_after_its_block(conn: Connection) -> None:
    async with conn:
        pass
    await conn.send_eof()


async def receives_after_aclose(conn: Connection) -> None:
    async for _ in conn.lines():
        await conn.aclose()  # which ends the loop


async def its_task_sends(conn: Connection) -> None:
    async def send() -> None:
        await trio.testing.wait_all_tasks_blocked()
        await conn.send_all(b"lost\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await conn.aclose()


async def its_task_closes(conn: Connection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conn.aclose)
    await conn.send_all(b"lost\n")


async def another_stream(conn: Connection) -> None:
    ours, _theirs = trio.testing.memory_stream_pair()
    other = Connection(ours)
    await conn.aclose()
    with contextlib.suppress(trio.BrokenResourceError):
        await other.aclose()
    await conn.receive_some()


CLOSED_BY_ITSELF = [
    (sends_after_aclose, Cause.FAILED),
    (sends_after_abort, Cause.FAILED),
    (sends_after_its_block, Cause.FAILED),
    (receives_after_aclose, Cause.FINISHED),
    (its_task_sends, Cause.FINISHED),
    (its_task_closes, Cause.FINISHED),
    (another_stream, Cause.FINISHED),
]


@pytest.mark.parametrize(("handler", "cause"), CLOSED_BY_ITSELF)
async def test_a_handler_that_sends_after_it_has_closed_has_failed(handler: Any, cause: Cause) -> None:
    async with open_server(handler) as served:
        client = await served.connect()
        with contextlib.suppress(trio.BrokenResourceError):
            await client.send_all(b"hello\n")
        await until_ended(served.server)
    assert served.server.statistics().ended == {cause: 1}
    failures = served.recorder.of(HandlerFailed)
    assert len(failures) == (cause is Cause.FAILED)
    for failure in failures:
        assert failure.error.__notes__ == [
            "The handler has closed this connection itself, before. What it sends must come first; a handler "
            "need not close at all: when it returns, the server does."
        ]


@pytest.mark.parametrize(("handler", "cause"), CLOSED_BY_ITSELF)
@pytest.mark.parametrize("tls", [False, True])
async def test_and_so_has_one_of_a_real_socket_and_of_tls(
    handler: Any, cause: Cause, tls: bool, serving: Any
) -> None:
    called = Noting()
    async with serving(handler, on_error=called, tls=server_context() if tls else None) as server:
        stream: Any = await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)
        if tls:
            stream = trio.SSLStream(stream, client_context(), server_hostname="localhost")
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(b"hello\n")
        await until_ended(server)
        await trio.aclose_forcefully(stream)
        assert server.statistics().ended == {cause: 1}
    assert len(called) == (cause is Cause.FAILED)
