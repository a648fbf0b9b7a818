"""What a listener may fail with: one test for each row of the table in accept_errors.py, by a listener that
fails as scripted.
"""

import errno
import os
import re

import pytest
import trio

import triosock
from tests.handlers import ask, ask_line, shout
from tests.servers import connected
from triosock import Limits
from triosock._core.model.events import AcceptFailed, ConnectionOpened, DrainFinished
from triosock.testing import FlakyListener, MemoryListener, no_leaks, open_server

#: What accept(2) says is the connection's own fault, or a firewall's, and what trio's survey of other systems
#: adds.
THE_PEERS = [
    "ECONNABORTED",
    "EPERM",
    "EPROTO",
    "ENETDOWN",
    "ENOPROTOOPT",
    "EHOSTDOWN",
    "ENONET",
    "EHOSTUNREACH",
    "EOPNOTSUPP",
    "ENETUNREACH",
    "ETIMEDOUT",
    "ECONNRESET",
    "EINTR",
]
THE_MACHINES = ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"]
CLOSED = ["EBADF", "ENOTSOCK", "EINVAL"]
BUGS = ["EFAULT", "EIO", "ENOENT"]


def failure(name):
    number = getattr(errno, name)
    return OSError(number, os.strerror(number))


def flaky(errors, where="accept"):
    inner = MemoryListener()
    return inner, FlakyListener(inner, errors, where=where)


async def assert_serves(inner):
    client = await inner.connect()
    assert await ask(client, b"hello\n") == b"HELLO\n"
    client.close()


@pytest.mark.parametrize("where", ["accept", "wait"])
@pytest.mark.parametrize("name", THE_PEERS)
async def test_a_connection_that_was_gone_costs_no_time(autojump_clock, name, where):
    inner, listener = flaky([failure(name)] * 3, where)
    async with open_server(shout, listeners=[listener]) as served:
        with trio.fail_after(0.01):
            await assert_serves(inner)
        failed = served.recorder.of(AcceptFailed)
        assert [(event.error.errno, event.action, event.delay) for event in failed] == [
            (getattr(errno, name), "go on", 0)
        ] * 3
        assert served.server.statistics().accept_errors == 3


@pytest.mark.parametrize("where", ["accept", "wait"])
@pytest.mark.parametrize("name", THE_MACHINES)
async def test_out_of_descriptors_or_memory_it_waits_longer_each_time_and_recovers(
    autojump_clock, name, where
):
    inner, listener = flaky([failure(name)] * 6, where)
    async with open_server(shout, listeners=[listener]) as served:
        began = trio.current_time()
        await assert_serves(inner)
        assert trio.current_time() - began == pytest.approx(0.1 + 0.2 + 0.4 + 0.8 + 1 + 1)
        failed = served.recorder.of(AcceptFailed)
        assert {event.action for event in failed} == {"back off"}
        assert [event.delay for event in failed] == [0.1, 0.2, 0.4, 0.8, 1, 1]


async def test_a_connection_that_ends_ends_the_wait_for_a_descriptor(autojump_clock):
    inner, listener = flaky([])
    async with open_server(shout, listeners=[listener], grace=0) as served:
        leaving = await inner.connect()
        await served.recorder.wait_for(ConnectionOpened)
        listener._errors.extend([failure("EMFILE")] * 5)
        waiting = await inner.connect()
        await served.recorder.wait_for(AcceptFailed, 4)  # 0.1 s, 0.2 s and 0.4 s have passed, 0.8 s begin
        leaving.close()
        with trio.fail_after(0.01):
            await served.recorder.wait_for(AcceptFailed, 5)
        waiting.close()


async def test_after_a_success_the_waits_begin_anew(autojump_clock):
    inner, listener = flaky([failure("EMFILE")] * 3)
    async with open_server(shout, listeners=[listener]) as served:
        await assert_serves(inner)
        listener._errors.append(failure("EMFILE"))
        await assert_serves(inner)
        assert [event.delay for event in served.recorder.of(AcceptFailed)] == [0.1, 0.2, 0.4, 0.1]


async def test_who_is_inside_is_served_while_it_waits_for_a_descriptor(autojump_clock):
    inner, listener = flaky([])
    async with open_server(shout, listeners=[listener]) as served:
        client = await inner.connect()
        await served.recorder.wait_for(ConnectionOpened)
        listener._errors.extend([failure("EMFILE")] * 3)
        other = await inner.connect()
        await served.recorder.wait_for(AcceptFailed, 3)
        with trio.fail_after(0.01):
            assert await ask(client, b"still here\n") == b"STILL HERE\n"
        client.close()
        other.close()


async def test_a_drain_ends_a_server_that_waits_for_a_descriptor(autojump_clock):
    inner, listener = flaky([failure("EMFILE")] * 100)
    async with open_server(shout, listeners=[listener]) as served:
        await served.recorder.wait_for(AcceptFailed, 5)
        served.server.drain()
        with trio.fail_after(0.01):
            report = await served.server.wait_closed()
    assert report.drained
    assert inner.is_closed


@pytest.mark.parametrize("where", ["accept", "wait"])
@pytest.mark.parametrize("error", [*map(failure, CLOSED), trio.ClosedResourceError("closed")], ids=repr)
async def test_a_listener_that_was_closed_ends_its_server_like_a_drain(autojump_clock, error, where):
    inner, listener = flaky([], where)
    async with open_server(shout, listeners=[listener]) as served:
        client = await inner.connect()
        assert await ask(client, b"hello\n") == b"HELLO\n"
        listener._errors.append(error)
        # Somebody new comes, and the next accept fails.
        newcomer = await inner.connect()
        report = await served.server.wait_closed()
        assert [event.action for event in served.recorder.of(AcceptFailed)] == ["end"]
        assert served.recorder.of(DrainFinished)
        client.close()
        newcomer.close()
    assert report.drained
    # A closed listener has no queue that could be swept; the wait that fails is the one after the newcomer's.
    assert report.finished == (1 if where == "accept" else 2)


@pytest.mark.parametrize("where", ["accept", "wait"])
async def test_one_of_two_listeners_may_be_closed_and_the_other_serves_on(autojump_clock, where):
    _, broken = flaky([failure("EBADF")], where)
    good = MemoryListener("good")
    async with open_server(shout, listeners=[broken, good]):
        await assert_serves(good)


@pytest.mark.parametrize("where", ["accept", "wait"])
@pytest.mark.parametrize("error", [*map(failure, BUGS), RuntimeError("no error of accept")], ids=repr)
async def test_any_other_error_is_a_bug_and_crashes_the_server(autojump_clock, error, where):
    inner, listener = flaky([error], where)
    with no_leaks():
        with pytest.RaisesGroup(
            pytest.RaisesExc(type(error), match=re.escape(str(error))), flatten_subgroups=True
        ):
            async with open_server(shout, listeners=[listener]) as served:
                await trio.sleep_forever()
    assert inner.is_closed
    if isinstance(error, OSError):
        assert [event.action for event in served.recorder.of(AcceptFailed)] == ["crash"]
    assert not served.server.statistics().active


@pytest.mark.parametrize("name", [*THE_PEERS[:1], *THE_MACHINES[:1], *CLOSED[:1], *BUGS[:1]])
async def test_a_drain_is_not_kept_by_an_accept_that_fails(autojump_clock, name):
    """The queue is swept at a drain; what fails then may cost those in it, and never the drain."""
    inner, listener = flaky([])
    async with open_server(shout, listeners=[listener], limits=Limits(max_connections=1)) as served:
        inside = await inner.connect()
        await served.recorder.wait_for(ConnectionOpened)
        outside = await inner.connect()
        await outside.send_all(b"hello\n")
        listener._errors.append(failure(name))
        served.server.drain(grace=1)
        inside.close()
        report = await served.server.wait_closed()
        outside.close()
    assert report.drained
    assert report.finished == (2 if name in THE_PEERS else 1)
    assert [event.error.errno for event in served.recorder.of(AcceptFailed)] == [getattr(errno, name)]


async def test_a_real_listener_that_somebody_else_closes():
    (listener,) = await triosock.open_tcp_listeners(0, host="127.0.0.1")
    async with connected(shout, listeners=[listener]) as (served, client):
        assert await ask_line(client, b"hello\n") == b"HELLO\n"
        listener.close()
        await client.aclose()
        assert (await served.server.wait_closed()).drained


async def test_a_real_listener_that_is_shut_down_by_another_process():
    (listener,) = await triosock.open_tcp_listeners(0, host="127.0.0.1")
    async with open_server(shout, listeners=[listener]) as served:
        listener.socket.shutdown(2)  # accept(2) then fails with EINVAL on Linux
        assert (await served.server.wait_closed()).drained
        assert [event.action for event in served.recorder.of(AcceptFailed)] == ["end"]
