"""For how long a connection waits, and for what: its own timeouts, and which progress renews a wait."""

from __future__ import annotations

import gc
import math
import weakref
from typing import Any

import pytest
import trio
import trio.testing

from tests.handlers import ask, read_lines, shout
from tests.pairs import memory_pair
from tests.servers import connected
from tests.waiting import takes
from triosock import Cause, Connection, Timeouts, events
from triosock._core.registry.registry import NEVER, Entry
from triosock._core.registry.timeout_monitor import TimeoutMonitor
from triosock.testing import open_server


async def test_who_is_being_sent_to_is_not_idle(autojump_clock: Any) -> None:
    async def feed(conn: Connection) -> None:
        async def push() -> None:
            for _ in range(5):
                await trio.sleep(3)
                await conn.send_all(b"news")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(push)
            await read_lines(conn)
            nursery.cancel_scope.cancel()

    async with connected(feed, timeouts=Timeouts(idle=4)) as (_, client):
        with takes(15 + 4):  # four seconds of silence in both directions after the last of them
            assert await client.receive_exactly(20) == b"news" * 5
            assert await client.receive_some() == b""


async def test_a_connection_may_change_its_timeouts_at_once_and_while_it_waits(autojump_clock: Any) -> None:
    given: dict[int, Connection] = {}

    async def handler(conn: Connection) -> None:
        given[conn.id] = conn
        async for line in conn.lines():
            if line == b"login\n":
                conn.set_timeouts(idle=math.inf, request=3)
                await conn.send_all(b"ok")

    async with open_server(handler, timeouts=Timeouts(idle=10)) as served:
        patient, hasty = await served.connect(), await served.connect()
        assert await ask(patient, b"login\n") == b"ok"
        await trio.sleep(1)
        with takes(1):
            given[2].set_timeouts(idle=2)  # in the middle of its wait
            assert await hasty.receive_some() == b""
        await trio.sleep(1_000)
        assert served.server.statistics().active == 1
        assert given[1].timeouts == Timeouts(idle=math.inf, request=3)
        await patient.send_all(b"half")
        with takes(3, abs=0.01):
            await served.recorder.wait_for(events.ConnectionClosed, 2)
    assert served.server.statistics().ended == {Cause.IDLE: 1, Cause.REQUEST: 1}


async def test_timeouts_of_its_own_hold_where_the_server_has_none(autojump_clock: Any) -> None:
    none = Timeouts(handshake=math.inf, idle=math.inf, send=math.inf, close=0)

    async def handler(conn: Connection) -> None:
        conn.set_timeouts(idle=5)
        await read_lines(conn)

    async with connected(handler, timeouts=none) as (_, client):
        with takes(5):
            assert await client.receive_some() == b""


@pytest.mark.parametrize(("name", "value"), [("idle", 0), ("request", -1), ("send", math.nan), ("close", -1)])
async def test_a_wrong_timeout_is_named(name: str, value: float) -> None:
    conn, peer = await memory_pair()
    async with conn, peer:
        with pytest.raises(ValueError, match=f"{name} must be a number of seconds"):
            conn.set_timeouts(**{name: value})


async def test_long_timeouts_of_one_connection_delay_no_look_at_another(autojump_clock: Any) -> None:
    ended: list[float] = []

    async def handler(conn: Connection) -> None:
        if await conn.receive_some() == b"long":
            conn.set_timeouts(idle=math.inf, request=math.inf, send=math.inf, close=9)
            await trio.sleep_forever()
        began = trio.current_time()
        await conn.wait_request()
        ended.append(trio.current_time() - began)

    timeouts = Timeouts(idle=1, handshake=9, request=9, send=9, close=9)
    async with connected(handler, timeouts=timeouts) as (served, one):
        await one.send_all(b"long")
        await trio.sleep(5)
        other = await served.connect()
        assert await ask(other, b"short") == b""
        served.server.drain(grace=0)
    assert ended == [pytest.approx(1)]


async def test_those_who_are_gone_are_not_kept_until_the_longest_timeout(autojump_clock):
    timeouts = Timeouts(handshake=3600, idle=3600, send=3600, close=0)
    async with open_server(shout, timeouts=timeouts) as served:
        gone = weakref.WeakSet()
        for _ in range(5):
            client = await served.connect()
            await trio.testing.wait_all_tasks_blocked()
            gone.update(served.server._registry.entries())
            await client.aclose()
            await trio.testing.wait_all_tasks_blocked()
        assert served.server.statistics().ended == {Cause.FINISHED: 5}
        await trio.sleep(11)
        gc.collect()
        assert not len(gone)


class Served:
    def __init__(self, *, has_input: bool, has_room: bool) -> None:
        self.wire = self
        self.answers = has_input, has_room
        self.interrupted: list[Cause] = []

    def has_input(self) -> bool:
        return self.answers[0]

    def has_room(self) -> bool:
        return self.answers[1]

    def interrupt_idle(self, cause: Cause) -> None:
        self.interrupted.append(cause)


@pytest.mark.parametrize(("has_input", "interrupted"), [(True, []), (False, [Cause.IDLE])])
async def test_an_idle_wait_beside_a_send_that_is_stuck_goes_by_what_has_come(
    has_input: bool, interrupted: list[Cause], autojump_clock: Any
) -> None:
    monitor = TimeoutMonitor(Timeouts(idle=1, send=3, handshake=9, request=9, close=9))
    now = trio.current_time()
    entry = Entry(now, served=Served(has_input=has_input, has_room=False), idle_since=now, send_since=now)
    monitor.watch(entry)
    with trio.move_on_after(1.5):
        await monitor.run()
    assert entry.served.interrupted == interrupted
    assert entry.request_since == NEVER
