"""The function `on_error`: its calls, its timeout, and its own failures."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import read_all, read_to_reset, reset, slow_block, slow_line, too_large, wait_forever
from tests.servers import connected, drained, running
from tests.tls import server_context
from tests.waiting import PATIENCE, until_ended
from triosock import Cause, Connection, FrameTooLarge, RequestTimedOut, Timeouts
from triosock._core.model.events import HandlerFailed
from triosock.testing import cancel_at_every_checkpoint

pytestmark = pytest.mark.usefixtures("no_leaks")


class Called:
    """A function that notes what it is called for, and then does not return."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    async def __call__(self, error: Exception, conn: Any) -> None:
        self.errors.append(error)
        await trio.sleep_forever()

    @property
    def kinds(self) -> list[type[Exception]]:
        return [type(error) for error in self.errors]


async def sorry(error: Exception, conn: Connection) -> None:
    await conn.send_all(b"sorry")


@pytest.mark.parametrize("handler", [slow_block, slow_line])
async def test_it_is_called_once_and_ends_with_the_drain(handler: Any, autojump_clock: Any) -> None:
    called = Called()
    async with connected(handler, on_error=called, timeouts=Timeouts(request=1)) as (served, client):
        await client.send_all(b"x\n")
        await trio.sleep(2)
        report = await drained(served.server, grace=1)
    assert called.kinds == [RequestTimedOut]
    assert report.duration == pytest.approx(1)


@pytest.mark.parametrize(("grace", "cleanup"), [(1, 5), (3, 10)])
async def test_it_is_not_called_after_the_deadline_of_a_drain(
    grace: float, cleanup: float, autojump_clock: Any
) -> None:
    async def long_cleanup(conn: Connection) -> None:
        async for _ in conn.lines():
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(cleanup)

    called = Called()
    timeouts = Timeouts(request=1, handshake=100)
    async with connected(long_cleanup, on_error=called, timeouts=timeouts) as (served, client):
        await client.send_all(b"x\n")
        await trio.sleep(2)
        report = await drained(served.server, grace=grace)
    assert called.errors == []
    assert report.causes == {Cause.REQUEST: 1}
    assert report.duration == pytest.approx(1 + cleanup - 2)  # the cleanup began a second before the drain


@pytest.mark.parametrize("grace", [1, 60])
async def test_a_cleanup_that_fails_after_the_cut(grace: float, autojump_clock: Any) -> None:
    async def fails_at_its_end(conn: Connection) -> None:
        async for _ in conn.lines():
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("planned")

    called = Called()
    timeouts = Timeouts(request=10, handshake=1)
    async with connected(fails_at_its_end, on_error=called, timeouts=timeouts) as (served, client):
        await client.send_all(b"x\n")
        await trio.sleep(1)
        report = await drained(served.server, grace=grace)
    # Cut by the drain, nobody can be answered; cut by its own time, it is out of time, whatever came of that.
    assert called.kinds == ([] if grace == 1 else [RequestTimedOut])
    assert report.causes == {Cause.DRAIN if grace == 1 else Cause.REQUEST: 1}
    assert [type(event.error) for event in served.recorder.of(HandlerFailed)] == [ValueError]


async def test_it_has_its_own_time_and_not_the_rest_of_the_requests(autojump_clock: Any) -> None:
    async def fails_late(conn: Connection) -> None:
        async for _ in conn.lines():
            await trio.sleep(1.9)
            raise ValueError("planned")

    async def answer(error: Exception, conn: Connection) -> None:
        await trio.sleep(5)
        await sorry(error, conn)

    async with connected(fails_late, on_error=answer, timeouts=Timeouts(request=2)) as (_, client):
        await client.send_all(b"x\n")
        assert await read_all(client) == b"sorry"


async def test_for_a_datagram_it_has_its_own_time_too(autojump_clock: Any) -> None:
    async def fails_late(datagram: triosock.Datagram) -> None:
        await trio.sleep(1.9)
        raise ValueError("planned")

    async def answer(error: Exception, datagram: triosock.Datagram) -> None:
        await trio.sleep(5)
        await datagram.reply(b"sorry")

    await ask_datagram_server(fails_late, answer, b"sorry", Cause.FAILED)


async def test_for_a_datagram_that_takes_too_long_it_is_called(autojump_clock: Any) -> None:
    async def answer(error: Exception, datagram: triosock.Datagram) -> None:
        await datagram.reply(type(error).__name__.encode())

    await ask_datagram_server(wait_forever, answer, b"RequestTimedOut", Cause.REQUEST)


async def test_a_session_is_answered_when_its_time_is_over(autojump_clock: Any) -> None:
    async def slow(session: triosock.Session) -> None:
        async for _ in session:
            await trio.sleep_forever()

    async def answer(error: Exception, session: triosock.Session) -> None:
        await session.send(type(error).__name__.encode())

    sessions = triosock.Sessions()
    await ask_datagram_server(slow, answer, b"RequestTimedOut", Cause.REQUEST, sessions=sessions)


async def ask_datagram_server(
    handler: Any, on_error: Any, answer: bytes, cause: Cause, **options: Any
) -> None:
    network = triosock.testing.DatagramNetwork()
    ours, client = network.open("server"), network.open("client")
    options |= {"on_error": on_error, "timeouts": Timeouts(request=2)}
    async with running(triosock.serve_datagram_sockets, handler, [ours], **options) as server:
        await client.send(b"x", ours.address)
        with trio.fail_after(100):
            assert (await client.receive())[0] == answer
        await drained(server)
    client.close()
    assert server.statistics().ended == {cause: 1}


async def test_it_is_called_after_finish_of_a_handler_class() -> None:
    steps: list[str] = []

    class Fails(triosock.StreamHandler):
        async def handle(self) -> None:
            raise ValueError("planned")

        async def finish(self) -> None:
            steps.append("finish")

    async def answer(error: Exception, conn: Connection) -> None:
        steps.append("answer")
        await sorry(error, conn)

    async with connected(Fails.serve, on_error=answer) as (_, client):
        assert await read_all(client) == b"sorry"
    assert steps == ["finish", "answer"]


async def test_it_is_not_called_for_a_handshake_that_failed(serving: Any, dial: Any) -> None:
    called = Called()
    async with serving(slow_block, tls=server_context(), on_error=called) as server:
        client = await dial(server)
        await client.send_all(b"this is no TLS at all\r\n\r\n")
        assert await read_all(client) == b""
        await client.aclose()
        assert await until_ended(server) == {Cause.HANDSHAKE: 1}
    assert called.errors == []


# What its own failures are


async def test_that_the_peer_has_gone_meanwhile_is_not_its_fault(serving: Any, recorder: Any) -> None:
    gone = trio.Event()

    async def answer(error: Exception, conn: Connection) -> None:
        assert isinstance(error, FrameTooLarge)
        await gone.wait()
        await conn.wait_peer_gone()
        while True:
            await conn.send_all(b"sorry")

    async with serving(too_large, on_error=answer, observers=[recorder]) as server:
        client = socket.create_connection(server.addresses[0].sockaddr)
        client.sendall(b"hello\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        reset(client)
        gone.set()
        assert await until_ended(server) == {Cause.PEER: 1}
    assert recorder.of(HandlerFailed) == []


async def test_that_nothing_can_be_sent_after_half_a_send_is_not_its_fault(autojump_clock: Any) -> None:
    async def sends_much(conn: Connection) -> None:
        async for _ in conn.lines():
            await conn.send_all(bytes(10_000_000))

    async with connected(sends_much, on_error=sorry, timeouts=Timeouts(request=2)) as (served, client):
        await client.send_all(b"x\n")
        await trio.sleep(3)
        assert await read_to_reset(client) == b""
    assert served.server.statistics().ended == {Cause.REQUEST: 1}
    assert served.recorder.of(HandlerFailed) == []


async def test_that_nothing_can_be_sent_while_another_task_sends_is_not_its_fault(
    serving: Any, dial: Any, recorder: Any
) -> None:
    tried = trio.Event()

    async def send(conn: Connection) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await conn.send_all(bytes(20_000_000))

    async def answer(error: Exception, conn: Connection) -> None:
        try:
            await conn.send_all(b"sorry")
        finally:
            tried.set()

    async with trio.open_nursery() as others:

        async def handler(conn: Connection) -> None:
            others.start_soon(send, conn)
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError("first")

        options = {"on_error": answer, "observers": [recorder]}
        async with serving(handler, **options) as server, await dial(server) as client:
            with trio.fail_after(PATIENCE):
                await tried.wait()
                await read_to_reset(client)
    assert [str(event.error) for event in recorder.of(HandlerFailed)] == ["first"]


async def test_its_own_bug_beside_a_peer_that_has_gone_is_told() -> None:
    async def worse(error: Exception, conn: Connection) -> None:
        raise ExceptionGroup("both", [FrameTooLarge("line", 4), KeyError("second")])

    async with connected(too_large, on_error=worse) as (served, client):
        await client.send_all(b"hello\n")
        assert await read_to_reset(client) == b""
    assert [type(event.error) for event in served.recorder.of(HandlerFailed)] == [ExceptionGroup]


@pytest.mark.parametrize("whose", ["scenario", "handlers"])
@pytest.mark.parametrize("handler", [slow_block, slow_line, too_large])
async def test_cancelled_at_every_checkpoint_nothing_is_left(
    handler: Any, whose: Any, autojump_clock: Any
) -> None:
    async def answer(error: Exception, conn: Connection) -> None:
        await trio.sleep(0.1)
        await sorry(error, conn)

    async def scenario() -> None:
        async with connected(handler, on_error=answer, timeouts=Timeouts(request=1)) as (_, client):
            await client.send_all(b"hello\n")
            received = await read_all(client)
            assert received in (b"sorry", b"")

    assert await cancel_at_every_checkpoint(scenario, whose=whose) >= 5
