"""The life of a server, DESIGN section 4, point by point, with real sockets."""

from __future__ import annotations

import errno
import socket
import sys

import pytest
import trio
import trio.testing

import triosock
from triosock import Cause, DrainReport, Limits, Timeouts
from triosock._core import events

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

pytestmark = pytest.mark.usefixtures("no_leaks")


async def shout(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    while data := await stream.receive_some():
        received += data
    return received


# 1. Two nurseries


async def test_a_drain_stops_accepting_while_connections_go_on(serving, dial):
    release = trio.Event()

    async def handler(conn):
        await conn.receive_some()
        await release.wait()
        await conn.send_all(b"done")

    async with serving(handler) as server:
        client = await dial(server)
        await client.send_all(b"x")
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain(grace=60)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(OSError, match="all attempts to connect"):
            await dial(server)
        release.set()
        assert await read_all(client) == b"done"
        await client.aclose()
        report = await server.wait_closed()
        assert (report.finished, report.cancelled, report.clean) == (1, 0, True)


async def test_cancelling_ends_everything_now_and_closes_it(serving, dial, recorder):
    stopped = []

    async def handler(conn):
        try:
            await conn.receive_some()
        finally:
            stopped.append(conn.id)

    async with serving(handler, observers=[recorder]) as server:
        clients = [await dial(server) for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert sorted(stopped) == [1, 2, 3]
    assert {event.cause for event in recorder.of(events.ConnectionClosed)} == {Cause.PARENT}
    assert recorder.of(events.ServerClosed)
    report = await server.wait_closed()
    assert (report.drained, report.cancelled) == (False, 3)
    for client in clients:
        await client.aclose()


async def test_the_server_ends_with_a_drain_if_somebody_closes_its_listeners(dial):
    listeners = await triosock.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_listeners, shout, listeners)
        client = await dial(server)
        await client.send_all(b"a\n")
        assert await client.receive_some() == b"A\n"
        listeners[0].close()
        assert await client.receive_some() == b""
        await client.aclose()
        assert (await server.wait_closed()).finished == 1


# 3. Limits before accepting


async def test_beyond_the_limit_clients_wait_in_the_kernel_in_order(serving, dial):
    async def handler(conn):
        await conn.send_all(b"%d" % conn.id)
        await conn.receive_some()

    async with serving(handler, limits=Limits(max_connections=1)) as server:
        first, second, third = [await dial(server) for _ in range(3)]
        assert await first.receive_some() == b"1"
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().accepted == 1
        await first.aclose()
        assert await second.receive_some() == b"2"
        assert server.statistics().active == 1
        await second.aclose()
        assert await third.receive_some() == b"3"
        await third.aclose()
        assert server.statistics().peak == 1


async def test_overflow_reject_closes_the_one_too_many(serving, dial, recorder):
    async def handler(conn):
        await conn.receive_some()

    async with serving(
        handler, limits=Limits(max_connections=1, overflow="reject"), observers=[recorder]
    ) as server:
        first = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        second = await dial(server)
        assert await second.receive_some() == b""
        assert server.statistics().refused == {"connections": 1}
        assert [event.reason for event in recorder.of(events.Refused)] == ["connections"]
        await first.aclose()
        await second.aclose()


async def test_an_overflow_handler_may_say_something_first(serving, dial, recorder):
    async def busy(conn):
        await conn.send_all(b"busy, come back later\n")

    async def handler(conn):
        await conn.receive_some()

    async with serving(
        handler, limits=Limits(max_connections=1, overflow=busy), observers=[recorder]
    ) as server:
        first = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        second = await dial(server)
        assert await read_all(second) == b"busy, come back later\n"
        await second.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert [event.cause for event in recorder.of(events.ConnectionClosed)] == [Cause.OVERFLOW]
        assert server.statistics().active == 1
        await first.aclose()


async def test_a_peer_over_its_limit_is_refused_and_others_are_not(serving):
    async def handler(conn):
        await conn.send_all(b"hello")
        await conn.receive_some()

    async def dial_from(server, source):
        sock = trio.socket.socket()
        await sock.bind((source, 0))
        await sock.connect(("127.0.0.1", server.addresses[0].port))
        return trio.SocketStream(sock)

    async with serving(handler, limits=Limits(max_connections_per_peer=1)) as server:
        one = await dial_from(server, "127.0.0.1")
        assert await one.receive_some() == b"hello"
        two = await dial_from(server, "127.0.0.1")
        assert await two.receive_some() == b""
        other = await dial_from(server, "127.0.0.2")
        assert await other.receive_some() == b"hello"
        await one.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        again = await dial_from(server, "127.0.0.1")
        assert await again.receive_some() == b"hello"
        assert server.statistics().refused == {"peer": 1}
        for stream in (two, other, again):
            await stream.aclose()


async def test_a_network_over_its_limit_is_refused(serving):
    async def handler(conn):
        await conn.send_all(b"hello")
        await conn.receive_some()

    limits = Limits(max_connections_per_network=2, network_prefix=(16, 56))
    async with serving(handler, limits=limits) as server:
        answers = []
        streams = []
        for source in ("127.0.0.1", "127.0.1.1", "127.0.2.1", "127.1.0.1"):
            sock = trio.socket.socket()
            await sock.bind((source, 0))
            await sock.connect(("127.0.0.1", server.addresses[0].port))
            streams.append(trio.SocketStream(sock))
            answers.append(await streams[-1].receive_some())
        assert answers == [b"hello", b"hello", b"", b"hello"]
        for stream in streams:
            await stream.aclose()


# 4. Draining is not cancelling


async def test_an_idle_connection_ends_at_once_when_drained(serving, dial, autojump_clock):
    async with serving(shout) as server:
        client = await dial(server)
        await client.send_all(b"one\n")
        assert await client.receive_some() == b"ONE\n"
        began = trio.current_time()
        server.drain(grace=60)
        assert await client.receive_some() == b""
        await client.aclose()
        report = await server.wait_closed()
        assert trio.current_time() - began < 1
        assert (report.finished, report.cancelled) == (1, 0)


async def test_work_in_flight_is_not_interrupted_before_the_deadline(serving, dial):
    working = trio.Event()
    release = trio.Event()

    async def handler(conn):
        async for line in conn.lines():
            working.set()
            await release.wait()
            await conn.send_all(line.upper())

    async with serving(handler) as server:
        client = await dial(server)
        await client.send_all(b"slow\n")
        await working.wait()
        server.drain(grace=60)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().active == 1
        release.set()
        assert await read_all(client) == b"SLOW\n"
        await client.aclose()
        assert (await server.wait_closed()).clean


async def test_requests_that_had_arrived_are_answered_in_a_drain(serving, dial):
    async with serving(shout) as server:
        client = await dial(server)
        await client.send_all(b"first\n")
        assert await client.receive_some() == b"FIRST\n"
        # In the kernel's buffer, unread, when the drain is told: nothing has run in between.
        await client.send_all(b"a\nb\n")
        server.drain(grace=60)
        assert await read_all(client) == b"A\nB\n"
        await client.aclose()


async def test_a_request_of_which_the_first_byte_had_arrived_may_be_finished(serving, dial):
    async with serving(shout) as server:
        client = await dial(server)
        await client.send_all(b"hal")
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain(grace=60)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send_all(b"f\n")
        assert await read_all(client) == b"HALF\n"
        await client.aclose()


async def test_an_idle_block_ends_in_a_drain_and_says_so(serving, dial):
    seen = []

    async def handler(conn):
        data = b"nothing"
        with conn.idle() as wait:
            data = await conn.receive_some()
        seen.append((data, wait.interrupted, conn.draining, triosock.draining()))

    async with serving(handler) as server:
        client = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().idle == 1
        server.drain(grace=60)
        assert await read_all(client) == b""
        await client.aclose()
        await server.wait_closed()
    assert seen == [(b"nothing", True, True, True)]


async def test_an_idle_block_gives_input_that_had_arrived_before_the_drain(serving, dial):
    async def handler(conn):
        while True:
            data = b""
            with conn.idle():
                data = await conn.receive_some()
            if not data:
                break
            await conn.send_all(data.upper())

    async with serving(handler) as server:
        client = await dial(server)
        await client.send_all(b"x")
        assert await client.receive_some() == b"X"
        await client.send_all(b"late")
        server.drain(grace=60)
        assert await read_all(client) == b"LATE"
        await client.aclose()


async def test_a_plain_receive_is_not_idle_and_gets_the_grace(serving, dial, autojump_clock):
    async def handler(conn):
        await conn.receive_some()

    async with serving(handler) as server:
        client = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        began = trio.current_time()
        server.drain(grace=7)
        report = await server.wait_closed()
        assert trio.current_time() - began == pytest.approx(7)
        assert (report.finished, report.cancelled, report.clean) == (0, 1, False)
        await client.aclose()


async def test_told_again_a_drain_can_only_tighten(serving, dial, autojump_clock):
    async def handler(conn):
        await trio.sleep_forever()

    async with serving(handler) as server:
        client = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        began = trio.current_time()
        server.drain(grace=100)
        await trio.sleep(1)
        server.drain(grace=1000)
        server.drain(grace=4)
        server.drain()
        await server.wait_closed()
        assert trio.current_time() - began == pytest.approx(5)
        await client.aclose()


async def test_an_infinite_grace_waits_for_ever(serving, dial, autojump_clock):
    async def handler(conn):
        await trio.sleep(100_000)

    async with serving(handler) as server:
        client = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        began = trio.current_time()
        server.drain(grace=float("inf"))
        report = await server.wait_closed()
        assert report.finished == 1
        assert trio.current_time() - began >= 99_999
        await client.aclose()


async def test_the_default_grace_is_that_of_the_timeouts(serving, dial, autojump_clock):
    async def handler(conn):
        await trio.sleep_forever()

    async with serving(handler, timeouts=Timeouts(grace=3)) as server:
        client = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        began = trio.current_time()
        server.drain()
        await server.wait_closed()
        assert trio.current_time() - began == pytest.approx(3)
        await client.aclose()


# 5. Nobody gets a reset for being early or late


async def test_clients_in_the_kernels_queue_are_served_in_a_drain_and_not_reset(serving, dial):
    release = trio.Event()

    async def handler(conn):
        async for line in conn.lines():
            await release.wait()
            await conn.send_all(line.upper())

    async with serving(handler, limits=Limits(max_connections=1)) as server:
        clients = [await dial(server) for _ in range(5)]
        for number, client in enumerate(clients):
            await client.send_all(b"number %d\n" % number)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().accepted == 1
        server.drain(grace=60)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (server.statistics().active, server.statistics().queued) == (1, 4)
        release.set()
        for number, client in enumerate(clients):
            assert await read_all(client) == b"NUMBER %d\n" % number
            await client.aclose()
        report = await server.wait_closed()
        assert (report.finished, report.refused, report.clean) == (5, 0, True)
        assert server.statistics().peak == 1


async def test_a_client_from_the_queue_has_a_moment_for_its_first_request(serving, dial, autojump_clock):
    async with serving(shout, limits=Limits(max_connections=1)) as server:
        first = await dial(server)
        await first.send_all(b"x")
        second = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain(grace=60)
        await first.send_all(b"\n")
        assert await read_all(first) == b"X\n"
        await first.aclose()
        await second.send_all(b"late\n")
        assert await read_all(second) == b"LATE\n"
        await second.aclose()
        assert (await server.wait_closed()).finished == 2


async def test_those_who_never_got_a_slot_are_reported_as_refused(serving, dial, autojump_clock, recorder):
    async def handler(conn):
        await trio.sleep_forever()

    async with serving(handler, limits=Limits(max_connections=1), observers=[recorder]) as server:
        clients = [await dial(server) for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain(grace=1)
        report = await server.wait_closed()
        assert (report.cancelled, report.refused) == (1, 2)
        assert [event.reason for event in recorder.of(events.Refused)] == ["drain", "drain"]
        for client in clients:
            await client.aclose()


async def test_a_reply_survives_input_that_nobody_read(serving, dial):
    async def handler(conn):
        await conn.send_all(b"bye")

    async with serving(handler) as server:
        client = await dial(server)
        await client.send_all(b"unread" * 1000)
        assert await read_all(client) == b"bye"
        await client.send_all(b"and later still")
        await client.aclose()


async def test_the_lingering_close_is_bounded(serving, dial, autojump_clock):
    async def handler(conn):
        await conn.send_all(b"bye")

    async with serving(handler, timeouts=Timeouts(close=3)) as server:
        client = await dial(server)
        assert await read_all(client) == b"bye"
        began = trio.current_time()
        while server.statistics().active:
            await trio.sleep(0.5)
        assert trio.current_time() - began == pytest.approx(3, abs=0.6)
        assert server.statistics().ended == {Cause.FINISHED: 1}
        await client.aclose()


# 6. A failing handler costs its own connection


async def test_a_failing_handler_costs_its_own_connection(serving, dial, recorder, caplog):
    async def handler(conn):
        if await conn.receive_some() == b"fail":
            raise ValueError("planned")
        await conn.send_all(b"fine")

    async with serving(handler, observers=[recorder]) as server:
        bad, good = await dial(server), await dial(server)
        await bad.send_all(b"fail")
        assert await read_all(bad) == b""
        await good.send_all(b"go")
        assert await read_all(good) == b"fine"
        await bad.aclose()
        await good.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().ended == {Cause.FAILED: 1, Cause.FINISHED: 1}
    (failed,) = recorder.of(events.HandlerFailed)
    assert isinstance(failed.error, ValueError)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "handler failed on connection 1" in record.message
    assert record.exc_info[1] is failed.error


async def test_an_exception_group_of_a_handler_costs_its_own_connection_too(serving, dial, recorder):
    async def handler(conn):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await conn.receive_some()
            raise ValueError("planned")

    async with serving(handler, observers=[recorder]) as server:
        client = await dial(server)
        await client.send_all(b"x")
        assert await read_all(client) == b""
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().ended == {Cause.FAILED: 1}
    assert isinstance(recorder.of(events.HandlerFailed)[0].error, ExceptionGroup)


async def test_on_error_raise_gives_trios_own_rule_back(serving, dial):
    async def handler(conn):
        await conn.receive_some()
        raise ValueError("planned")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with serving(handler, on_error="raise") as server:
            client = await dial(server)
            await client.send_all(b"x")
            with trio.CancelScope(shield=False):
                await trio.sleep_forever()
    await client.aclose()
    assert caught.group_contains(ValueError, match="planned") if hasattr(caught, "group_contains") else True


async def test_an_error_handler_is_given_the_exception_and_the_open_connection(serving, dial):
    async def handler(conn):
        raise ValueError("planned")

    async def apologize(error, conn):
        await conn.send_all(f"sorry: {error}".encode())

    async with serving(handler, on_error=apologize) as server:
        client = await dial(server)
        assert await read_all(client) == b"sorry: planned"
        await client.aclose()


async def test_an_error_handler_that_fails_costs_the_same_connection_only(serving, dial, recorder):
    async def handler(conn):
        raise ValueError("first")

    async def worse(error, conn):
        raise KeyError("second")

    async with serving(handler, on_error=worse, observers=[recorder]) as server:
        client = await dial(server)
        assert await read_all(client) == b""
        await client.aclose()
    assert [type(event.error) for event in recorder.of(events.HandlerFailed)] == [ValueError, KeyError]


async def test_a_base_exception_of_a_handler_passes(serving, dial):
    async def handler(conn):
        raise SystemExit(3)

    with pytest.raises(BaseException) as caught:  # noqa: PT011, PT012
        async with serving(handler) as server:
            client = await dial(server)
            await trio.sleep_forever()
    await client.aclose()
    error = caught.value
    while not isinstance(error, SystemExit):
        error = error.exceptions[0]
    assert error.code == 3


async def test_a_peer_that_goes_away_is_no_error_of_the_handler(serving, dial, recorder):
    async def handler(conn):
        await conn.send_all(b"x")
        await conn.receive_exactly(10)

    async with serving(handler, observers=[recorder]) as server:
        client = await dial(server)
        await client.receive_some()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().ended == {Cause.PEER: 1}
    assert recorder.of(events.HandlerFailed) == []
    assert isinstance(recorder.of(events.ConnectionClosed)[0].error, trio.BrokenResourceError)


async def test_a_handler_that_returns_what_cannot_be_awaited_ends_the_server_loudly(dial):
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                lambda task_status: triosock.serve_tcp(lambda conn: 5, 0, task_status=task_status)
            )
            client = await dial(server)
            await trio.sleep_forever()
    await client.aclose()
    leaf = caught.value
    while isinstance(leaf, ExceptionGroup):
        leaf = leaf.exceptions[0]
    assert isinstance(leaf, TypeError)
    assert "cannot be awaited" in str(leaf)


# 8. and 9. The report, and causes


async def test_the_report_names_the_slowest_and_where_they_were(serving, dial, autojump_clock):
    async def stuck_in_here():
        await trio.sleep_forever()

    async def handler(conn):
        async for _ in conn.lines():
            await stuck_in_here()

    async with serving(handler) as server:
        client = await dial(server)
        await client.send_all(b"x\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        await trio.sleep(2)
        server.drain(grace=1)
        report = await server.wait_closed()
        (straggler,) = report.slowest
        assert str(straggler.peer) == "tcp://{}:{}".format(*client.socket.getsockname())
        assert straggler.age == pytest.approx(3, abs=0.1)
        assert straggler.phase == "working"
        assert any("stuck_in_here" in line for line in straggler.stack)
        assert report.causes == {Cause.DRAIN: 1}
        assert "1 cancelled" in str(report)
        assert str(straggler.peer) in str(report)
        await client.aclose()


async def test_serve_returns_the_report(dial):
    reports = []
    async with trio.open_nursery() as nursery:

        async def serve(task_status):
            reports.append(await triosock.serve_tcp(shout, 0, host="127.0.0.1", task_status=task_status))

        server = await nursery.start(serve)
        server.drain()
    assert reports == [await server.wait_closed()]
    assert reports[0].clean
    assert isinstance(reports[0], DrainReport)


@pytest.mark.parametrize(
    ("timeouts", "send", "cause"),
    [
        (Timeouts(idle=2), b"", Cause.IDLE),
        (Timeouts(request=2), b"x", Cause.REQUEST),
        (Timeouts(idle=2), b"x", Cause.IDLE),
    ],
)
async def test_a_timeout_names_its_cause_everywhere(
    serving, dial, autojump_clock, recorder, timeouts, send, cause
):
    async with serving(shout, timeouts=timeouts, observers=[recorder]) as server:
        client = await dial(server)
        await client.send_all(send)
        began = trio.current_time()
        assert await read_all(client) == b""
        assert trio.current_time() - began == pytest.approx(2, abs=0.1)
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().ended == {cause: 1}
    assert [event.cause for event in recorder.of(events.ConnectionClosed)] == [cause]


async def test_a_cut_handler_is_cancelled_with_the_cause_as_trios_reason(serving, dial, autojump_clock):
    reasons = []

    async def handler(conn):
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(cancelled.reason)
            raise

    async with serving(handler) as server:
        client = await dial(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain(grace=1)
        await server.wait_closed()
        await client.aclose()
    assert reasons == ["triosock: drain deadline"]


async def test_suspend_lets_newcomers_wait_and_resume_serves_them(serving, dial, recorder):
    async with serving(shout, observers=[recorder]) as server:
        before = await dial(server)
        await before.send_all(b"a\n")
        assert await before.receive_some() == b"A\n"
        server.suspend()
        server.suspend()
        await trio.testing.wait_all_tasks_blocked(0.01)
        waiting = await dial(server)
        await waiting.send_all(b"b\n")
        await before.send_all(b"c\n")
        assert await before.receive_some() == b"C\n"
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().accepted == 1
        assert server.statistics().suspended
        server.resume()
        assert await waiting.receive_some() == b"B\n"
        for stream in (before, waiting):
            await stream.aclose()
    assert len(recorder.of(events.ServerSuspended)) == 1
    assert len(recorder.of(events.ServerResumed)) == 1


async def test_one_port_serves_both_families(dial):
    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_tcp, shout, 0)
        ports = {address.port for address in server.addresses}
        assert len(ports) == 1
        for host in ("127.0.0.1", "::1"):
            async with await trio.open_tcp_stream(host, ports.copy().pop()) as client:
                await client.send_all(b"hi\n")
                assert await client.receive_some() == b"HI\n"
        nursery.cancel_scope.cancel()


async def test_a_unix_server_removes_its_file(tmp_path, dial):
    path = tmp_path / "socket"
    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_unix, shout, path)
        async with await dial(server) as client:
            await client.send_all(b"hi\n")
            assert await client.receive_some() == b"HI\n"
        server.drain()
        await server.wait_closed()
        assert not path.exists()


async def test_an_address_in_use_is_refused_and_leaves_nothing_open(serving):
    async with serving(shout) as server:
        with pytest.raises(triosock.AddressUnavailable, match="somebody listens there already") as caught:
            await triosock.serve_tcp(shout, server.addresses[0].port, host="127.0.0.1")
        assert caught.value.errno == errno.EADDRINUSE
