"""Traces by OpenTelemetry's API, seen through its SDK's exporter in memory."""

from __future__ import annotations

import contextlib
import json
import logging

import pytest
import trio

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

import triosock
from tests.handlers import ask, shout
from tests.observe.runs import shop
from tests.observe.told import talk
from tests.servers import connected, drained, running
from tests.waiting import PATIENCE
from triosock._core.model.addresses import UnixAddress
from triosock.observe import JsonFormatter
from triosock.observe.stats import StatisticsObserver
from triosock.observe.telemetry_spans import _address
from triosock.testing import open_server


def serving_udp(handler, **options):
    return running(triosock.serve_udp, handler, 0, host="127.0.0.1", **options)


async def test_a_connection_is_a_trace_and_its_requests_are_children(told):
    observer = await told.serve(shout, b"a\n", b"b\n", name="shouts")
    (connection,), requests = told.spans("connection"), told.spans("request")
    assert connection.parent is None
    assert connection.kind is SpanKind.SERVER
    assert len(requests) == 2
    assert {one.parent.span_id for one in requests} == {connection.context.span_id}
    assert connection.attributes["triosock.server"] == "shouts"
    assert connection.attributes["triosock.cause"] == "finished"
    assert connection.attributes["triosock.requests"] == 2
    assert connection.attributes["triosock.bytes.received"] == 4
    assert connection.status.status_code is StatusCode.UNSET
    assert connection.start_time <= requests[0].start_time <= requests[0].end_time <= connection.end_time
    assert observer.dropped == 0


async def test_a_span_is_ended_though_its_error_has_no_text(told, caplog):
    class Speechless(Exception):
        def __str__(self):
            raise TypeError("__str__ returned non-string")

    async def fail(conn):
        raise Speechless

    async with told.observer() as observer, connected(fail, observers=[observer]) as (_, client):
        with contextlib.suppress(trio.BrokenResourceError):
            await client.receive_some()
    (connection,) = told.spans("connection")
    assert connection.status.status_code is StatusCode.ERROR
    assert connection.attributes["error.type"].endswith("Speechless")
    assert "triosock spans: the first failure" in caplog.text


async def test_addresses_have_the_names_of_the_conventions(told, serving, dial):
    async with told.observer() as observer, serving(shout, observers=[observer]) as server:
        async with await dial(server) as client:
            mine = client.socket.getsockname()
            assert await ask(client, b"a\n") == b"A\n"
        await drained(server)
    (connection,) = told.spans("connection")
    port = server.addresses[0].port
    expected = {
        "client.address": "127.0.0.1", "client.port": mine[1],
        "server.address": "127.0.0.1", "server.port": port,
        "network.peer.address": "127.0.0.1", "network.peer.port": mine[1],
        "network.local.address": "127.0.0.1", "network.local.port": port,
        "network.transport": "tcp", "network.type": "ipv4",
    }  # fmt: skip
    assert {name: connection.attributes[name] for name in expected} == expected
    (request,) = told.spans("request")
    assert {name: request.attributes[name] for name in expected} == expected


async def test_a_proxy_names_the_client(told, serving, dial):
    async with told.observer() as observer, serving(shout, proxy=True, observers=[observer]) as server:
        async with await dial(server) as client:
            assert await ask(client, b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\na\n") == b"A\n"
        await drained(server)
    for span in (*told.spans("connection"), *told.spans("request")):
        assert span.attributes["client.address"] == "192.0.2.7"
        assert span.attributes["network.peer.address"] == "127.0.0.1"


async def test_what_the_handler_starts_is_a_child_of_its_request_or_of_its_connection(told):
    async def handler(conn):
        with told.tracer.start_as_current_span("greeting"):
            await trio.sleep(0)
        async for line in conn.lines():
            with told.tracer.start_as_current_span("work"):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(part)
            await conn.send_all(line.upper())
        with told.tracer.start_as_current_span("goodbye"):
            pass

    async def part():
        with told.tracer.start_as_current_span("part"):
            await trio.sleep(0)

    await told.serve(handler, b"a\n", b"b\n")
    (connection,) = told.spans("connection")
    requests = {one.context.span_id for one in told.spans("request")}
    works = {one.context.span_id for one in told.spans("work")}
    assert {one.parent.span_id for one in told.spans("work")} == requests
    assert {one.parent.span_id for one in told.spans("part")} == works
    for name in ("greeting", "goodbye"):
        (span,) = told.spans(name)
        assert span.parent.span_id == connection.context.span_id
    assert len({one.context.trace_id for one in told.spans()}) == 1


async def test_a_span_that_the_handler_keeps_current_stays_so(told):
    current = []

    async def handler(conn):
        with told.tracer.start_as_current_span("session") as session:
            async for line in conn.lines():
                await conn.send_all(line.upper())
            current.append(trace.get_current_span() is session)

    await told.serve(handler, b"a\n", b"b\n")
    (session,) = told.spans("session")
    assert current == [True]
    assert {one.parent.span_id for one in told.spans("request")} == {session.context.span_id}


async def test_a_span_that_ends_in_another_request_than_it_began_in_leaves_none_that_is_over(told):
    async def handler(conn):
        lines = conn.lines()
        await conn.send_all((await anext(lines)).upper())
        with told.tracer.start_as_current_span("long"):
            await conn.send_all((await anext(lines)).upper())
        await conn.send_all((await anext(lines)).upper())

    await told.serve(handler, b"a\n", b"b\n", b"c\n")
    (connection,), (long,) = told.spans("connection"), told.spans("long")
    first, second, third = sorted(told.spans("request"), key=lambda one: one.start_time)
    assert first.parent.span_id == third.parent.span_id == connection.context.span_id
    assert long.parent.span_id == first.context.span_id
    assert second.parent.span_id == long.context.span_id


async def test_a_context_of_the_handlers_own_is_not_taken_away(told):
    """A span of another trace, as one continues that came with a message."""
    seen = []

    async def handler(conn):
        far = told.tracer.start_span("far", context=trace.Context())
        with trace.use_span(far, end_on_exit=True):
            async for line in conn.lines():
                await conn.send_all(line.upper())
                seen.append(trace.get_current_span().name)
            seen.append(trace.get_current_span().name)

    await told.serve(handler, b"a\n", b"b\n")
    assert seen == ["request", "request", "far"]
    (connection,) = told.spans("connection")
    assert {one.parent.span_id for one in told.spans("request")} == {connection.context.span_id}


async def test_connections_at_once_are_not_mixed(told):
    async def handler(conn):
        async for line in conn.lines():
            with told.tracer.start_as_current_span("work"):
                await trio.sleep(0.001)
            await conn.send_all(line.upper())

    async with told.observer() as observer, open_server(handler, observers=[observer]) as served:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(talk, served, b"a\n", b"b\n", b"c\n")
    traces = {}
    for span in told.spans():
        traces.setdefault(span.context.trace_id, []).append(span.name)
    assert len(traces) == 10
    assert {tuple(sorted(names)) for names in traces.values()} == {
        ("connection", *["request"] * 3, *["work"] * 3)
    }


async def test_the_span_of_whoever_started_the_server_is_no_parent(told):
    with told.tracer.start_as_current_span("startup"):
        await told.serve(shout, b"a\n")
    (connection,) = told.spans("connection")
    assert connection.parent is None


async def test_a_datagram_is_a_span_of_its_own(told):
    async def answer(datagram):
        with told.tracer.start_as_current_span("work"):
            await datagram.reply(datagram.data)

    async with told.observer() as observer, serving_udp(answer, observers=[observer]) as server:
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock, trio.fail_after(PATIENCE):
            for _ in range(2):
                await sock.sendto(b"x", server.addresses[0].sockaddr)
                assert await sock.recv(10) == b"x"
        await drained(server)
    datagrams, works = told.spans("datagram"), told.spans("work")
    assert [one.parent for one in datagrams] == [None, None]
    assert {one.parent.span_id for one in works} == {one.context.span_id for one in datagrams}
    assert datagrams[0].attributes["network.transport"] == "udp"
    assert len(observer._spans) == 0


async def test_a_session_is_a_connection(told):
    async def converse(session):
        async for data in session:
            await session.send(data)
            return

    options = {"sessions": triosock.Sessions()}
    async with told.observer() as observer, serving_udp(converse, observers=[observer], **options) as server:
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock, trio.fail_after(PATIENCE):
            await sock.sendto(b"x", server.addresses[0].sockaddr)
            assert await sock.recv(10) == b"x"
        await drained(server)
    (connection,), (request,) = told.spans("connection"), told.spans("request")
    assert request.parent.span_id == connection.context.span_id


async def test_failures_are_errors_with_what_was_raised(told, caplog):
    async def handler(conn):
        async for _ in conn.lines():
            raise ZeroDivisionError("by zero")

    async with told.observer() as observer, open_server(handler, observers=[observer]) as served:
        client = await served.connect()
        await client.send_all(b"a\n")
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
    (connection,), (request,) = told.spans("connection"), told.spans("request")
    assert connection.status.status_code is request.status.status_code is StatusCode.ERROR
    assert connection.attributes["error.type"] == "ZeroDivisionError"
    assert request.attributes["error.type"] == "failed"
    (raised,) = connection.events
    assert raised.attributes["exception.message"] == "by zero"


async def test_a_whole_run(told, autojump_clock):
    counted = StatisticsObserver()
    async with told.observer() as observer:
        await shop(observers=(observer, counted))
    assert len(told.spans("connection")) == counted.events["ConnectionClosed"] == 8
    assert len(told.spans("request")) == counted.events["RequestFinished"]
    assert len(observer._spans) == 0


async def test_records_of_the_log_name_their_span(told, caplog):
    lines = []

    async def handler(conn):
        async for line in conn.lines():
            lines.append(JsonFormatter().format(logging.makeLogRecord({"msg": "hello"})))
            await conn.send_all(line.upper())

    await told.serve(handler, b"a\n")
    (request,) = told.spans("request")
    fields = json.loads(lines[0])
    assert int(fields["trace.id"], 16) == request.context.trace_id
    assert int(fields["span.id"], 16) == request.context.span_id


def test_names_of_hostile_peers_are_escaped_and_bounded(told):
    (text,) = _address("client", UnixAddress("/tmp/\x1b[2J\n" + "x" * 90)).values()
    assert text.isprintable()
    assert len(text) <= 256
