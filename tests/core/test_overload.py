"""The lag of the loop, and the refusals while it is above its limit."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from tests.handlers import ask, says, shout
from tests.servers import connected
from tests.waiting import PATIENCE, until
from triosock import Connection, Limits, Timeouts, events
from triosock._core.registry.loop_lag import INTERVAL, SHORT_INTERVAL, LagMeter
from triosock._core.registry.registry import NEVER
from triosock._core.registry.shedding import QUIET, Shedding
from triosock.testing import open_server

# The meter


@pytest.fixture
async def served(mock_clock: trio.testing.MockClock, recorder: Any) -> AsyncIterator[Any]:
    """A server in memory under a clock that only the test moves."""
    async with open_server(shout, limits=Limits(max_lag=0.2), observers=[recorder]) as served:
        yield served


async def pause(clock: trio.testing.MockClock, seconds: float) -> None:
    """Have the loop stand still for so long, and then run what is due."""
    clock.jump(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def connects(served: Any) -> bool:
    """Whether one more is served."""
    client, answer = await served.connect(), b""
    with contextlib.suppress(trio.BrokenResourceError):
        await client.send_all(b"hello\n")
        answer = await client.receive_some()
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    return answer == b"HELLO\n"


async def test_the_lag_is_how_late_a_timer_was(served: Any, mock_clock: trio.testing.MockClock) -> None:
    assert served.server.lag == 0
    assert await connects(served)
    await pause(mock_clock, INTERVAL + 0.15)
    assert served.server.lag == pytest.approx(0.15)
    assert served.server.statistics().lag == pytest.approx(0.15)


async def test_nobody_is_woken_while_nothing_happens(served: Any, mock_clock: trio.testing.MockClock) -> None:
    assert served.server._service.monitor.lag.due == NEVER
    assert await connects(served)
    for _ in range(2):  # one sample that something happened before, and one that nothing did
        await pause(mock_clock, INTERVAL + 0.15)
    assert served.server._service.monitor.lag.due == NEVER
    assert served.server.lag == 0
    await pause(mock_clock, 1000)
    assert served.server.lag == 0  # a pause while nothing happens keeps nobody waiting
    assert await connects(served)
    assert served.server._service.monitor.lag.due < NEVER


@pytest.mark.parametrize("count", [8, 50])
async def test_input_of_old_connections_is_something_that_happens(
    count: int, serving: Any, dial: Any
) -> None:
    async with serving(shout) as server:
        clients = [await dial(server) for _ in range(count)]
        meter = server._service.monitor.lag
        await until(lambda: meter.due == NEVER)
        for client in clients:
            assert await ask(client, b"hello\n") == b"HELLO\n"
        assert meter.due < NEVER
        for client in clients:
            await client.aclose()


async def test_a_handler_that_blocks_the_loop_shows(mock_clock: trio.testing.MockClock) -> None:
    async def block(conn: Connection) -> None:
        mock_clock.jump(0.3)  # as a call does that takes so long

    async with connected(block, timeouts=Timeouts(close=0)) as (served, client):
        assert await client.receive_some() == b""
        await trio.testing.wait_all_tasks_blocked()
        assert served.server.lag == pytest.approx(0.2)  # the timer was set when the connection was accepted


# Shedding


async def test_while_it_is_late_new_ones_are_refused_until_it_has_caught_up(
    served: Any, mock_clock: trio.testing.MockClock, recorder: Any
) -> None:
    old = await served.connect()
    for _ in range(2):
        assert await connects(served)
        await pause(mock_clock, INTERVAL + 0.3)
    (started,) = recorder.of(events.SheddingStarted)
    assert started.lag == pytest.approx(0.3)
    assert served.server.shedding
    assert not await connects(served)
    assert not await connects(served)
    assert [event.reason for event in recorder.of(events.Refused)] == ["lag", "lag"]
    await old.send_all(b"still\n")  # who is inside is served on
    assert await old.receive_some() == b"STILL\n"
    await pause(mock_clock, SHORT_INTERVAL + 0.15)  # better, but not half of the limit
    assert served.server.shedding
    await pause(mock_clock, SHORT_INTERVAL + 0.05)
    ended_at = mock_clock.current_time()
    assert not served.server.shedding
    assert await connects(served)
    statistics = served.server.statistics()
    assert statistics.refused == {"lag": 2}
    assert not statistics.shedding
    assert recorder.of(events.SheddingEnded) == []  # it could begin again at once
    while mock_clock.current_time() < ended_at + QUIET:
        await pause(mock_clock, INTERVAL)
    (ended,) = recorder.of(events.SheddingEnded)
    assert ended.refused == 2
    assert ended.duration == pytest.approx(ended_at - started.time)
    await old.aclose()


async def test_one_pause_is_no_overload(served: Any, mock_clock: trio.testing.MockClock) -> None:
    for _ in range(3):
        assert await connects(served)
        await pause(mock_clock, 5)
        assert await connects(served)
        await pause(mock_clock, INTERVAL)
    assert served.server.statistics().refused == {}


async def test_a_drain_turns_nobody_away_for_it(
    served: Any, mock_clock: trio.testing.MockClock, recorder: Any
) -> None:
    for _ in range(2):
        assert await connects(served)
        await pause(mock_clock, 1)
    assert served.server.shedding
    served.server.suspend()
    answers: list[bool] = []

    async def ask() -> None:
        answers.append(await connects(served))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        served.server.drain()
    assert answers == [True]
    assert recorder.of(events.Refused) == []


async def test_an_overflow_handler_may_say_so(mock_clock: trio.testing.MockClock, recorder: Any) -> None:
    limits = Limits(max_lag=0.2, overflow=says(b"busy\n"))
    async with open_server(shout, limits=limits) as served:
        for _ in range(2):
            assert await connects(served)
            await pause(mock_clock, 1)
        client = await served.connect()
        assert await client.receive_some() == b"busy\n"
        await client.aclose()


async def test_without_a_limit_nothing_is_shed(mock_clock: trio.testing.MockClock) -> None:
    async with open_server(shout) as served:
        for _ in range(5):
            assert await connects(served)
            await pause(mock_clock, 100)
            assert not served.server.shedding


async def test_a_queue_that_stands_is_lag_too(serving: Any, dial: Any, recorder: Any) -> None:
    async def slow(conn: Connection) -> None:
        time.sleep(0.002)
        await conn.send_all(b"done")

    limits = Limits(max_lag=0.05)
    async with serving(slow, limits=limits, observers=[recorder], backlog=1000) as server:
        answers: list[bytes] = []

        async def ask() -> None:
            client = await dial(server)
            try:
                answers.append(bytes(await client.receive_some()))
            except trio.BrokenResourceError:
                answers.append(b"")
            await client.aclose()

        async with trio.open_nursery() as nursery:
            for _ in range(600):
                nursery.start_soon(ask)
        assert answers.count(b"done") == 600 - server.statistics().refused["lag"] > 0
        with trio.fail_after(PATIENCE):  # it ends; on a machine that lags by itself it may begin again
            while answers[-1] != b"done":
                await trio.sleep(SHORT_INTERVAL)
                await ask()
    assert recorder.of(events.SheddingStarted)


# The rules, alone


class Told:
    """Keeps what is emitted."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.fields: dict[str, Any] = {}

    def __call__(self, kind: type[Any], **fields: Any) -> None:
        self.kinds.append(kind.__name__)
        self.fields = fields


@pytest.fixture
def told() -> Told:
    return Told()


class Now:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Now:
    return Now()


@pytest.fixture
def shedding(told: Told, clock: Now) -> Shedding:
    return Shedding(0.2, LagMeter(), told, clock)


def test_it_begins_with_two_above_and_ends_with_one_below_half(shedding: Shedding, told: Told) -> None:
    seen = []
    for lag in (0.3, 0.1, 0.3, 0.21, 0.15, 0.11, 0.09, 0.3, 0.09, 0.3, 0.3):
        shedding.note_lag(lag)
        seen.append(shedding.is_on)
    assert seen == [False, False, False, True, True, True, False, False, False, False, True]
    assert told.kinds == ["SheddingStarted"]


def test_all_of_it_is_told_once_until_there_was_none_for_a_while(
    shedding: Shedding, told: Told, clock: Now
) -> None:
    for _ in range(50):
        shedding.note_queue(0.3)
        shedding.refused += 1
        shedding.note_lag(0.0)
        assert not shedding.is_on
        clock.now += QUIET / 2
        shedding.note_lag(0.0)
    assert told.kinds == ["SheddingStarted"]
    clock.now += QUIET / 2
    shedding.note_lag(0.0)
    assert told.kinds == ["SheddingStarted", "SheddingEnded"]
    assert told.fields == {"duration": 49 * QUIET / 2, "refused": 50}
    shedding.note_queue(0.3)
    assert told.kinds == ["SheddingStarted", "SheddingEnded", "SheddingStarted"]
    assert shedding.refused == 0


def test_a_queue_that_stands_keeps_it_on(shedding: Shedding, told: Told) -> None:
    shedding.note_queue(0.1)
    assert not shedding.is_on
    shedding.note_queue(0.21)
    shedding.note_queue(0.3)
    assert shedding.is_on
    shedding.note_lag(0.0)
    assert shedding.is_on  # somebody still stood there after the first had been turned away
    shedding.note_lag(0.0)
    assert not shedding.is_on
    assert told.kinds == ["SheddingStarted"]


def test_no_more_is_taken_at_once_than_has_its_turn_in_a_quarter_of_the_limit(shedding: Shedding) -> None:
    seen = [shedding.batch]
    for seconds in (0.01, 0.01, 0.01, 0.01, 0.5, 0.05, 0.1, 10.0, 0.005, 0.001, 0.001, 0.0, 0.0):
        shedding.note_pass(seconds)
        seen.append(shedding.batch)
    assert seen == [10, 20, 40, 80, 100, 10, 10, 5, 1, 2, 4, 8, 16, 32]
    shedding.note_queue(1.0)
    assert shedding.batch == 100  # they are turned away,
    shedding.note_pass(0.001)  # which takes no time, and says nothing
    shedding.note_lag(0.0)
    assert shedding.batch == 32


def test_without_a_limit_no_lag_is_too_much(told: Told) -> None:
    shedding = Shedding(math.inf, LagMeter(), told, lambda: 0.0)
    for _ in range(3):
        shedding.note_lag(1e9)
        shedding.note_queue(1e9)
        shedding.note_pass(1e9)
    assert shedding.batch == 100
    assert not shedding.is_on


@pytest.mark.parametrize("bad", [0, -1, math.nan])
def test_a_wrong_limit_is_named(bad: float) -> None:
    with pytest.raises(ValueError, match="max_lag must be a number of seconds above 0"):
        Limits(max_lag=bad)
    with pytest.raises(TypeError, match="max_lag must be a number of seconds"):
        Limits(max_lag="0.2")  # type: ignore[arg-type]
