"""A limit of connections that follows their latency."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.handlers import ask, says, shout
from tests.servers import connected
from triosock import AdaptiveLimit, Connection, Limits
from triosock._core.registry.gradient import Gradient
from triosock._core.registry.registry import Entry, Registry
from triosock.testing import open_server

# The rules, alone


class Machine:
    """Serves as many at once as it is let, each taking as long as `latency` says of their number."""

    def __init__(self, config: AdaptiveLimit, latency: Callable[[int], float], crowd: int = 10_000) -> None:
        self.registry = Registry(Limits(adaptive=config))
        self.now = 0.0
        self.gradient = Gradient(config, self.registry, self.now)
        self.latency = latency
        self.crowd = crowd
        self.limits: list[int] = []

    def serve(self, rounds: int) -> None:
        """Let in who may come, and have all of them done at once, so many times."""
        for _ in range(rounds):
            began, entries = self.now, []
            while self.registry.has_room and len(entries) < self.crowd:
                entries.append(Entry(began, lambda: 0.0))
                self.registry.add(entries[-1])
            self.now += self.latency(len(entries))
            for _ in entries:
                self.gradient.note(began, self.now)
            for entry in entries:
                self.registry.remove(entry)
            self.limits.append(int(self.registry.most))


QUICK = AdaptiveLimit(samples=10, update_every=0.1, remeasure_every=1e9)


def wide(width: int) -> Callable[[int], float]:
    """A machine that does so many at once in 10 ms, and takes longer for more in proportion."""
    return lambda count: 0.01 * max(1.0, count / width)


def test_it_begins_at_its_least_and_measures() -> None:
    machine = Machine(QUICK, wide(50))
    assert machine.registry.most == 3
    machine.serve(3)
    assert machine.gradient.ideal is None
    machine.serve(1)
    assert machine.gradient.ideal == pytest.approx(0.01)


@pytest.mark.parametrize("width", [20, 100, 400])
def test_it_finds_about_what_the_machine_can_do(width: int) -> None:
    machine = Machine(QUICK, wide(width))
    machine.serve(2000)
    # The fixed point: latency is a quarter above the ideal, and as much more as the headroom allows.
    assert width < machine.limits[-1] < 2 * width
    assert machine.latency(machine.limits[-1]) < 0.02


def test_it_follows_a_machine_that_becomes_slower() -> None:
    machine = Machine(QUICK, wide(100))
    machine.serve(1000)
    before = machine.limits[-1]
    machine.latency = wide(20)
    machine.serve(1000)
    assert machine.limits[-1] < 40 < before


def test_a_limit_of_which_not_half_is_used_does_not_grow() -> None:
    machine = Machine(QUICK, wide(1000), crowd=5)
    machine.serve(3000)
    assert max(machine.limits) <= 15


def test_it_stays_within_its_bounds_and_those_of_the_server() -> None:
    config = AdaptiveLimit(samples=10, min_connections=2, max_connections=30, remeasure_every=1e9)
    machine = Machine(config, wide(1000))
    machine.serve(2000)
    assert max(machine.limits) == 30
    machine.latency = lambda count: 0.01 if count <= 2 else 10.0
    machine.serve(100)
    assert min(machine.limits) == 2
    registry = Registry(Limits(max_connections=5))
    registry.set_most(100)
    assert registry.most == 5


def test_it_changes_once_in_a_window_and_by_a_factor_of_two_at_most() -> None:
    machine = Machine(QUICK, wide(100))
    machine.serve(1000)
    machine.latency = lambda count: 1e-9  # a thousand rounds in no time
    before = len(set(machine.limits[-1:]))
    machine.serve(1000)
    assert len(set(machine.limits[-1000:])) <= before + 1
    machine.latency = lambda count: 1000.0
    last = machine.limits[-1]
    machine.serve(1)
    assert machine.limits[-1] >= last / 2


def test_the_ideal_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    machine = Machine(AdaptiveLimit(samples=10, remeasure_every=20), wide(100))
    machine.serve(1000)
    before, ideal = machine.limits[-1], machine.gradient.ideal
    assert before > 100
    machine.latency = lambda count: 0.005 * max(1.0, count / 100)  # better than the ideal: nobody doubts it
    while machine.now < 20 * 1.15:
        machine.serve(1)
    at = len(machine.limits)
    machine.serve(20)
    assert 3 in machine.limits[at - 1 :]  # hardly anybody there
    machine.serve(100)
    assert machine.gradient.ideal == pytest.approx((ideal or 0) / 2)


def test_a_latency_that_stays_though_the_limit_has_fallen_has_the_ideal_measured_again() -> None:
    machine = Machine(QUICK, wide(100))
    machine.serve(1000)
    before, ideal = machine.limits[-1], machine.gradient.ideal
    machine.latency = lambda count: 0.03 * max(1.0, count / 100)  # as wide as it was, and three times slower
    machine.serve(200)
    assert machine.gradient.ideal == pytest.approx(3 * (ideal or 0))
    machine.serve(1000)
    assert machine.limits[-1] == pytest.approx(before, rel=0.2)


def test_an_ideal_that_is_doubted_is_measured_for_a_twentieth_of_the_time_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(QUICK, wide(10))
    machine.serve(100)
    monkeypatch.setattr(machine.gradient, "_has_become_slower", lambda latency: True)
    measured, began = 0.0, machine.now
    while machine.now < began + 10:
        before = machine.now
        measuring = machine.gradient._before is not None
        machine.serve(1)
        measured += (machine.now - before) * measuring
    assert 0.02 * 10 < measured < 0.06 * 10


def test_a_window_lasts_for_two_latencies_and_has_ten_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    gradient = Gradient(AdaptiveLimit(samples=1), Registry(Limits()), 0.0)
    updates: list[float] = []
    now = 0.0
    monkeypatch.setattr(gradient, "_next_limit", lambda latency: updates.append(now) or 50.0)

    def tell(latency: float, *times: float) -> None:
        nonlocal now
        for now in times:
            gradient.note(now - latency, now)

    tell(0.3, 0.3)  # the ideal, so that the window lasts for 0.6 s
    tell(0.3, *(0.3 + 0.05 * number for number in range(1, 12)))
    assert updates == []
    tell(0.3, 0.91)
    assert updates == [0.91]
    tell(0.05, *(0.91 + 0.08 * number for number in range(1, 10)))
    assert updates == [0.91]  # its time is over, but there are only nine
    tell(0.05, 1.7)
    assert updates == [0.91, 1.7]
    tell(0.05, 2.0, 2.69)
    assert updates == [0.91, 1.7]
    tell(0.05, 2.71)  # after ten times `update_every` whatever there is must do
    assert updates == [0.91, 1.7, 2.71]


def test_a_limit_that_stays_at_its_least_has_the_ideal_measured_again() -> None:
    machine = Machine(QUICK, wide(100))
    machine.serve(1000)
    machine.latency = lambda count: 0.5  # whatever is done: the ideal is not what it was
    machine.serve(100)
    assert machine.gradient.ideal == pytest.approx(0.5)
    machine.serve(300)
    assert machine.limits[-1] > 100


def test_work_from_before_the_measuring_does_not_count_in_it() -> None:
    gradient = Gradient(QUICK, Registry(Limits()), 10.0)
    for _ in range(100):
        gradient.note(9.9, 20.0)
    assert gradient.ideal is None
    for _ in range(10):
        gradient.note(10.0, 10.5)
    assert gradient.ideal == 0.5


def test_a_latency_of_nothing_is_no_error() -> None:
    machine = Machine(QUICK, lambda count: 0.0)
    machine.serve(10)
    machine.now += 1
    machine.serve(100)
    assert machine.gradient.ideal == 0.0


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"min_connections": 0}, ValueError, "min_connections must be from 1 on"),
        ({"min_connections": math.inf}, ValueError, "min_connections must be finite"),
        ({"max_connections": 2}, ValueError, r"max_connections must be from min_connections \(3\) on, not 2"),
        ({"max_connections": 2.5}, TypeError, "max_connections must be an int"),
        ({"buffer": -0.1}, ValueError, "buffer must be a finite number from 0 on"),
        ({"buffer": math.nan}, ValueError, "buffer must be a finite number from 0 on"),
        ({"buffer": "1"}, TypeError, "buffer must be a number"),
        ({"update_every": 0}, ValueError, "update_every must be a number of seconds above 0"),
        ({"remeasure_every": math.nan}, ValueError, "remeasure_every must be a number of seconds above 0"),
        ({"samples": 0}, ValueError, "samples must be from 1 on"),
    ],
)
def test_wrong_arguments_are_named(options: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        AdaptiveLimit(**options)
    with pytest.raises(TypeError, match=r"adaptive must be a triosock.AdaptiveLimit"):
        Limits(adaptive=3)  # type: ignore[arg-type]


# In a server


async def test_connections_beyond_it_are_for_overflow(recorder: Any) -> None:
    limits = Limits(adaptive=AdaptiveLimit(min_connections=2), overflow="reject")
    async with open_server(shout, limits=limits) as served:
        inside = [await served.connect() for _ in range(2)]
        for client in inside:
            assert await ask(client, b"a\n") == b"A\n"
        third = await served.connect()
        assert await third.receive_some() == b""
        statistics = served.server.statistics()
        assert (statistics.limit, statistics.refused) == (2, {"connections": 1})


async def test_its_latencies_are_those_of_connections_or_of_their_requests(autojump_clock: Any) -> None:
    async def slow(conn: Connection) -> None:
        await trio.sleep(0.25)
        await conn.send_all(b"done")

    async def lines(conn: Connection) -> None:
        async for line in conn.lines():
            await trio.sleep(0.125)
            await conn.send_all(line)

    limits = Limits(adaptive=AdaptiveLimit(samples=4))
    async with open_server(slow, limits=limits) as served:
        for _ in range(4):
            client = await served.connect()
            assert await client.receive_some() == b"done"
            await trio.sleep(1)  # which is the client's
            await client.aclose()
            await trio.testing.wait_all_tasks_blocked()
        assert served.server._gradient.ideal == pytest.approx(0.25)  # type: ignore[union-attr]
    async with connected(lines, limits=limits) as (served, client):
        for _ in range(5):
            assert await ask(client, b"a\n") == b"a\n"
            await trio.sleep(1)
        assert served.server._gradient.ideal == pytest.approx(0.125)  # type: ignore[union-attr]
        await client.aclose()


async def test_who_waits_gets_in_when_it_grows(autojump_clock: Any) -> None:
    async def slow(conn: Connection) -> None:
        await trio.sleep(0.1)
        await conn.send_all(b"done")

    limits = Limits(adaptive=AdaptiveLimit(samples=3))
    answers: list[bytes] = []
    async with open_server(slow, limits=limits) as served:

        async def ask() -> None:
            client = await served.connect()
            answers.append(bytes(await client.receive_some()))
            await client.aclose()

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(ask)
        assert answers == [b"done"] * 100
        assert served.server.statistics().peak > 3
        served.server._registry.check()


async def test_who_only_waits_for_its_peer_to_close_does_not_count(autojump_clock: Any) -> None:
    limits = Limits(adaptive=AdaptiveLimit(min_connections=2), overflow="reject", max_connections=4)
    async with open_server(says(b"done"), limits=limits) as served:
        clients = [await served.connect() for _ in range(2)]
        for client in clients:
            assert await client.receive_some() == b"done"
        await trio.testing.wait_all_tasks_blocked()
        assert served.server.statistics().active == 2  # none has closed, so both are in a lingering close
        clients += [await served.connect() for _ in range(2)]
        for client in clients[2:]:
            assert await client.receive_some() == b"done"
        await trio.testing.wait_all_tasks_blocked()
        statistics = served.server.statistics()
        assert (statistics.active, statistics.limit, statistics.refused) == (4, 2, {})
        late = await served.connect()  # those in a lingering close do count towards `max_connections`
        assert await late.receive_some() == b""
        for client in clients:
            await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert served.server._registry.most == 2
