"""DTLS: associations with the life of connections. Real sockets, and trio's own endpoint as the client."""

from __future__ import annotations

import array
import json
import socket

import pytest
import trio
import trio.testing

import triosock
from tests.servers import drained
from tests.waiting import until, until_ended, until_served
from triosock import Cause, Limits, Timeouts
from triosock._core.model import events
from triosock.observe import AccessLog

SSL = pytest.importorskip("OpenSSL.SSL", reason="the extra dtls (pyOpenSSL) is not installed")

from tests.datagrams.associations import (  # noqa: E402
    answer_the_cookie,
    client_context,
    datagram_socket,
    echo,
    exchange,
    server_context,
)
from triosock.dtls import serve_dtls  # noqa: E402

settle = trio.testing.wait_all_tasks_blocked


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "::1"])
async def test_each_association_has_a_task_and_answers_from_where_it_was_asked(
    serving_dtls, dial_dtls, recorder, host
):
    sessions = []

    async def handler(session):
        sessions.append(session)
        await echo(session)

    async with serving_dtls(handler, host=None, observers=[recorder]) as server:
        with dial_dtls(server, host) as channel:
            assert await exchange(channel, b"hello") == b"HELLO"
            assert await exchange(channel, b"again") == b"AGAIN"
        (session,) = sessions
        assert (session.local.host, session.received, session.sent, session.id) == (host, 10, 10, 1)
        assert str(session.peer) in repr(session)
        assert not session.draining
        s = server.statistics()
        assert (s.active, s.accepted, s.received, s.sent) == (1, 1, 10, 10)
        kinds = [events.ServerStarted, events.ConnectionOpened, events.HandshakeFinished]
        assert [type(event) for event in recorder.events[:3]] == kinds


async def test_a_drain_ends_the_idle_and_lets_the_busy_finish(serving_dtls, dial_dtls):
    go = trio.Event()

    async def handler(session):
        async for data in session:
            if data == b"wait":
                await go.wait()
                await session.send(b"and " + await session.receive())

    async with serving_dtls(handler) as server:
        with dial_dtls(server) as idle, dial_dtls(server) as busy:
            await idle.send(b"x")
            await busy.send(b"wait")
            await until(lambda: server.statistics().active == 2 and server.statistics().idle == 1)
            server.drain(grace=30)
            await until_ended(server)
            assert server.draining
            go.set()
            assert await exchange(busy, b"more") == b"and more"
            report = await server.wait_closed()
            assert (report.finished, report.cancelled, report.clean) == (2, 0, True)


def count_queued(session):
    """How many packets trio has put aside for an association. It is no public name."""
    return session.channel._q.r.statistics().current_buffer_used


async def test_what_had_arrived_before_a_drain_is_still_given(serving_dtls, dial_dtls):
    sessions, got, go = [], [], trio.Event()

    async def handler(session):
        sessions.append(session)
        async for data in session:
            got.append(data)
            await go.wait()

    async with serving_dtls(handler) as server:
        with dial_dtls(server) as channel:
            for data in (b"1", b"2", b"3"):
                await channel.send(data)
            await until(lambda: got and count_queued(sessions[0]) == 2)
            server.drain(grace=30)
            go.set()
            assert (await server.wait_closed()).clean
    assert got == [b"1", b"2", b"3"]


async def test_at_the_deadline_of_a_drain_the_busy_are_cut(serving_dtls, dial_dtls):
    async def handler(session):
        await trio.sleep_forever()

    async with serving_dtls(handler) as server:
        with dial_dtls(server) as channel:
            await channel.do_handshake()
            await until(lambda: server.statistics().active)
            report = await drained(server, grace=0)
    assert report.causes == {Cause.DRAIN: 1}


async def test_during_a_drain_nobody_new_is_let_in(serving_dtls, dial_dtls, recorder):
    go = trio.Event()

    async def handler(session):
        await session.receive()
        await go.wait()

    async with serving_dtls(handler, observers=[recorder]) as server:
        with dial_dtls(server) as first, dial_dtls(server) as late:
            await first.send(b"x")
            await until(lambda: server.statistics().received)
            server.drain(grace=30)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(late.do_handshake)
                await recorder.wait_for(events.Refused)
                nursery.cancel_scope.cancel()
            go.set()
            report = await server.wait_closed()
    assert (report.finished, report.refused) == (1, 0)
    assert {event.reason for event in recorder.of(events.Refused)} == {"drain"}


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_connections=1),
        Limits(max_connections_per_peer=1),
        Limits(rate_per_peer=triosock.Rate(1, per=1000, burst=1)),
    ],
)
async def test_one_too_many_is_turned_away(serving_dtls, dial_dtls, recorder, limits):
    async with serving_dtls(echo, limits=limits, observers=[recorder]) as server:
        with dial_dtls(server) as first, dial_dtls(server) as second:
            assert await exchange(first, b"x") == b"X"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(second.do_handshake)
                await recorder.wait_for(events.Refused)
                nursery.cancel_scope.cancel()
            assert await exchange(first, b"y") == b"Y"
            assert server.statistics().active == 1


async def test_a_handshake_that_takes_too_long_is_cut(serving_dtls, recorder, mock_clock):
    """A client that answers the cookie and then says nothing."""
    options = {"limits": Limits(max_handshakes=float("inf")), "timeouts": Timeouts(handshake=3)}
    async with serving_dtls(echo, observers=[recorder], **options) as server:
        with datagram_socket() as sock:
            await answer_the_cookie(sock, server)
            await until_served(server)
            mock_clock.autojump_threshold = 0
            await recorder.wait_for(events.ConnectionClosed)
        assert trio.current_time() == pytest.approx(3, abs=0.1)
        assert server.statistics().ended == {Cause.HANDSHAKE: 1}
        (refused,) = recorder.of(events.HandshakeRefused)
        assert refused.error is None


async def test_who_proves_its_address_and_says_nothing_keeps_no_place(
    serving_dtls, dial_dtls, recorder, mock_clock
):
    options = {"limits": Limits(max_handshakes=2), "timeouts": Timeouts(handshake=60)}
    async with serving_dtls(echo, observers=[recorder], **options) as server:
        with datagram_socket() as first, datagram_socket() as second, dial_dtls(server) as honest:
            await answer_the_cookie(first, server)
            await answer_the_cookie(second, server)
            await until_served(server, 2)
            mock_clock.autojump_threshold = 0.01
            assert await exchange(honest, b"x") == b"X"  # long before a handshake has timed out
            await until_ended(server)
            assert server.statistics().refused == {"handshakes": 1}
            assert server.statistics().ended == {Cause.HANDSHAKE: 1}
        assert [event.connection for event in recorder.of(events.HandshakeRefused)] == [1]


async def test_an_idle_association_ends(serving_dtls, dial_dtls, recorder, mock_clock):
    async with serving_dtls(echo, timeouts=Timeouts(idle=3), observers=[recorder]) as server:
        with dial_dtls(server) as channel:
            assert await exchange(channel, b"x") == b"X"
            mock_clock.autojump_threshold = 0
            await recorder.wait_for(events.ConnectionClosed)
            assert trio.current_time() == pytest.approx(3, abs=0.1)
            assert server.statistics().ended == {Cause.IDLE: 1}


async def test_a_client_that_begins_anew_ends_the_old_association(serving_dtls, recorder):
    """From the same port: RFC 6347, 4.2.8."""
    async with serving_dtls(echo, observers=[recorder]) as server:
        with trio.DTLSEndpoint(trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as endpoint:
            address = ("127.0.0.1", server.addresses[0].port)
            with endpoint.connect(address, client_context()) as first:
                assert await exchange(first, b"1") == b"1"
                with endpoint.connect(address, client_context()) as second:
                    assert await exchange(second, b"2") == b"2"
                    await until_ended(server)
                    assert server.statistics().ended == {Cause.PEER: 1}
                    assert not recorder.of(events.HandlerFailed)


async def test_a_handler_that_raises_costs_its_association(serving_dtls, dial_dtls, recorder):
    async def handler(session):
        raise ValueError((await session.receive()).decode())

    async with serving_dtls(handler, observers=[recorder]) as server:
        with dial_dtls(server) as channel:
            await channel.send(b"bad")
            await until_ended(server)
        assert [str(event.error) for event in recorder.of(events.HandlerFailed)] == ["bad"]


async def test_sends_that_cannot_be(serving_dtls, dial_dtls):
    kept, refused = [], []

    async def handler(session):
        kept.append(session)
        await session.receive()
        for data in (b"", bytes(16_385)):
            with pytest.raises(ValueError, match=r"data must have from 1 to 16,384 bytes \(one record\)"):
                await session.send(data)
            refused.append(data)
        with pytest.raises(TypeError, match=r"not str; a str needs \.encode\(\)"):
            await session.send("text")
        with pytest.raises(ValueError, match="not 16,388"):
            await session.send(memoryview(array.array("i", bytes(16_388))))
        await session.send(memoryview(array.array("i", bytes(16_384))))
        assert session.sent == 16_384

    async with serving_dtls(handler) as server:
        with dial_dtls(server) as channel:
            assert await exchange(channel, b"x") == bytes(16_384)
            await until_ended(server)
    assert len(refused) == 2
    with pytest.raises(trio.ClosedResourceError, match="the server has ended"):
        await kept[0].send(b"late")


async def test_suspended_it_hears_nothing_until_it_resumes(serving_dtls, dial_dtls):
    async with serving_dtls(echo) as server:
        with dial_dtls(server) as channel:
            assert await exchange(channel, b"x") == b"X"
            server.suspend()
            await channel.send(b"wakes the loop")
            await settle(0.02)
            assert server.statistics().suspended
            server.resume()
            with trio.fail_after(10):
                assert await channel.receive() == b"WAKES THE LOOP"


async def test_junk_is_ignored(serving_dtls, dial_dtls):
    async with serving_dtls(echo) as server:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
            for data in (b"", b"junk", bytes(100), b"\x16\xfe\xfd" + bytes(60)):
                await junk.sendto(data, ("127.0.0.1", server.addresses[0].port))
        with dial_dtls(server) as channel:
            assert await exchange(channel, b"x") == b"X"
        assert server.statistics().accepted == 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"context": 5}, TypeError, r"context must be an OpenSSL.SSL.Context \(pyOpenSSL\), not 5"),
        ({"handler": 5}, TypeError, "handler must be an async function of one DTLS session, not 5"),
        ({"limits": 5}, TypeError, "limits must be"),
        ({"name": 5}, TypeError, "name must be"),
        ({"observers": [5]}, TypeError, "observers must be"),
    ],
)
async def test_wrong_arguments(options, error, text):
    arguments = {"handler": echo, "port": 0, "context": server_context(), "host": "127.0.0.1", **options}
    with pytest.raises(error, match=text):
        await serve_dtls(**arguments)


def test_the_facade_does_not_need_the_extra():
    assert not hasattr(triosock, "serve_dtls")


@pytest.mark.parametrize("fail", [trio.sleep_forever, trio.lowlevel.checkpoint])
async def test_an_on_error_function_can_still_send(serving_dtls, dial_dtls, fail):
    async def handler(session):
        async for _ in session:
            await fail()
            raise ValueError("planned")

    async def answer(error, session):
        await session.send(type(error).__name__.encode())

    is_late = fail is trio.sleep_forever
    timeouts = Timeouts(request=0.1) if is_late else Timeouts()
    async with serving_dtls(handler, on_error=answer, timeouts=timeouts) as server:
        with dial_dtls(server) as channel:
            assert await exchange(channel, b"x") == (b"RequestTimedOut" if is_late else b"ValueError")
        await until_ended(server, 1)
        assert server.statistics().ended == {Cause.REQUEST if is_late else Cause.FAILED: 1}


async def test_its_version_is_not_known_and_not_told(serving_dtls, dial_dtls):
    lines = []
    async with serving_dtls(echo, observers=[AccessLog(lines.append, format="json")]) as server:
        with dial_dtls(server) as channel:
            assert await exchange(channel, b"hello") == b"HELLO"
        await drained(server)
    (line,) = map(json.loads, lines)
    assert line["tls.version_protocol"] == "dtls"
    assert "tls.version" not in line  # which is a number


async def test_a_span_of_an_association_has_no_version(serving_dtls, dial_dtls):
    pytest.importorskip("opentelemetry.sdk")
    from tests.observe.told import Told

    told = Told()
    async with told.observer() as observer, serving_dtls(echo, observers=[observer]) as server:
        with dial_dtls(server) as channel:
            assert await exchange(channel, b"hello") == b"HELLO"
        await drained(server)
    (span,) = told.spans("connection")
    assert span.attributes["tls.protocol.name"] == "dtls"
    assert "tls.protocol.version" not in span.attributes
    told.tracers.shutdown()
    told.meters.shutdown()
