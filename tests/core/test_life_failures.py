"""The life of a server: a failing handler ends its own connection, and no other."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from tests.handlers import in_a_nursery, own_bug, read_all, read_to_reset, reset
from tests.servers import drained
from tests.waiting import until_ended, until_served
from triosock import Cause
from triosock._core.model import events
from triosock._core.transport.socket import SocketWire

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_a_failing_handler_costs_its_own_connection(serving, dial, recorder, caplog):
    async def handler(conn):
        if await conn.receive_some() == b"fail":
            raise ValueError("planned")
        await conn.send_all(b"fine")

    async with serving(handler, observers=[recorder]) as server:
        bad, good = await dial(server), await dial(server)
        await bad.send_all(b"fail")
        assert await read_to_reset(bad) == b""
        await good.send_all(b"go")
        assert await read_all(good) == b"fine"
        await bad.aclose()
        await good.aclose()
        assert await until_ended(server, 2) == {Cause.FAILED: 1, Cause.FINISHED: 1}
    (failed,) = recorder.of(events.HandlerFailed)
    assert isinstance(failed.error, ValueError)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "handler failed on connection 1" in record.message
    assert record.exc_info[1] is failed.error


async def test_an_exception_group_of_a_handler_costs_its_own_connection_too(serving, dial, recorder):
    handler = in_a_nursery(own_bug)
    async with serving(handler, observers=[recorder]) as server, await dial(server) as client:
        await client.send_all(b"x")
        assert await read_to_reset(client) == b""
        await client.aclose()
        assert await until_ended(server) == {Cause.FAILED: 1}
    assert isinstance(recorder.of(events.HandlerFailed)[0].error, ExceptionGroup)


async def test_on_error_raise_gives_trios_own_rule_back(serving, dial):
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="planned"), flatten_subgroups=True):
        async with serving(own_bug, on_error="raise") as server, await dial(server) as client:
            await client.send_all(b"x")
            await trio.sleep_forever()


async def test_an_error_handler_is_given_the_exception_and_the_open_connection(serving, dial):
    async def handler(conn):
        raise ValueError("planned")

    async def apologize(error, conn):
        await conn.send_all(f"sorry: {error}".encode())

    async with serving(handler, on_error=apologize) as server, await dial(server) as client:
        assert await read_all(client) == b"sorry: planned"


async def test_an_error_handler_that_fails_costs_the_same_connection_only(serving, dial, recorder):
    async def handler(conn):
        raise ValueError("first")

    async def worse(error, conn):
        raise KeyError("second")

    async with serving(handler, on_error=worse, observers=[recorder]) as server, await dial(server) as client:
        assert await read_to_reset(client) == b""
    assert [type(event.error) for event in recorder.of(events.HandlerFailed)] == [ValueError, KeyError]


async def test_a_base_exception_of_a_handler_passes(serving, dial):
    async def handler(conn):
        raise SystemExit(3)

    expected = pytest.RaisesExc(SystemExit, check=lambda error: error.code == 3)
    with pytest.RaisesGroup(expected, flatten_subgroups=True):
        async with serving(handler) as server, await dial(server):
            await trio.sleep_forever()


async def test_a_peer_that_goes_away_is_no_error_of_the_handler(serving, dial, recorder):
    async def handler(conn):
        await conn.send_all(b"x")
        await conn.receive_exactly(10)

    async with serving(handler, observers=[recorder]) as server, await dial(server) as client:
        await client.receive_some()
        reset(client)
        assert await until_ended(server) == {Cause.PEER: 1}
    assert recorder.of(events.HandlerFailed) == []
    assert isinstance(recorder.of(events.ConnectionClosed)[0].error, trio.BrokenResourceError)


async def test_nobody_waits_for_a_peer_that_has_reset(serving, dial, monkeypatch):
    waits = []
    monkeypatch.setattr(SocketWire, "linger", lambda wire: waits.append(wire))

    async def handler(conn):
        await conn.send_all(b"x")
        async for _ in conn:
            pass

    async with serving(handler) as server, await dial(server) as client:
        await client.receive_some()
        reset(client)
        assert await until_ended(server) == {Cause.PEER: 1}
    assert waits == []


async def test_a_handler_that_returns_what_cannot_be_awaited_ends_the_server_loudly(serving, dial):
    with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match="cannot be awaited"), flatten_subgroups=True):
        async with serving(lambda conn: 5) as server, await dial(server):
            await trio.sleep_forever()


# When the handler is cut


async def fail_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("planned")


async def read_beside_a_clean_up_that_fails(conn):
    # The nursery raises the cancellation and the failure in one group, which is no Exception.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_when_cancelled)
        await conn.receive_some()


async def test_a_clean_up_that_fails_when_the_handler_is_cut_costs_its_own_connection(
    serving, dial, recorder
):
    handler = read_beside_a_clean_up_that_fails
    async with serving(handler, observers=[recorder]) as server, await dial(server):
        await until_served(server)
        report = await drained(server, grace=0)
        assert (report.drained, report.cancelled) == (True, 1)
    (failed,) = recorder.of(events.HandlerFailed)
    assert [type(error) for error in failed.error.exceptions] == [ValueError]
    (closed,) = recorder.of(events.ConnectionClosed)
    assert (closed.cause, closed.error) == (Cause.DRAIN, failed.error)


async def test_an_error_handler_whose_clean_up_fails_when_it_is_cut_costs_the_same_connection(
    serving, dial, recorder
):
    async def handler(conn):
        raise KeyError("planned")

    async def on_error(error, conn):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await trio.sleep_forever()

    async with serving(handler, on_error=on_error, observers=[recorder]) as server:
        client = await dial(server)
        await until_served(server)
        assert (await drained(server, grace=0)).drained
        await client.aclose()
    assert len(recorder.of(events.HandlerFailed)) == 2


async def test_on_error_raise_gives_the_whole_group(serving, dial):
    handler = read_beside_a_clean_up_that_fails
    with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
        async with serving(handler, on_error="raise") as server, await dial(server):
            await until_served(server)
            server.drain(grace=0)
            await trio.sleep_forever()


async def test_a_peer_whose_reset_two_tasks_notice_is_no_failure_of_the_handler(serving, recorder):
    async def handler(conn):
        async def read():
            try:
                await conn.receive_some()
            finally:
                with pytest.raises(trio.BrokenResourceError):
                    await conn.send_all(b"more")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)

    async with serving(handler, observers=[recorder]) as server:
        client = socket.create_connection(("127.0.0.1", server.addresses[0].port))
        await until_served(server)
        reset(client)
        assert await until_ended(server) == {Cause.PEER: 1}
    assert not recorder.of(events.HandlerFailed)
