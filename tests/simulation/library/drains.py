"""Drains: newcomers, requests that had arrived, work that is under way, and the report."""

from __future__ import annotations

import trio

from tests.handlers import ask_line, shout
from tests.simulation.scenarios import ask_once, work
from triosock import Connection, DrainScope, Timeouts, events
from triosock.testing.simulation import Faults, SimulatedServer, World

SOON = Faults(drains=1.0, latency=0.05, jitter=0.01, cuts=0.3, small_buffers=0.1)


async def newcomers(world: World) -> None:
    """Who has connected, and asks within five seconds, is answered, drain or not."""
    server = await world.serve(shout)

    async def ask(first: float, more: int) -> None:
        conn = await world.connect(server)
        await trio.sleep(first)
        assert await ask_line(conn, b"first\n") == b"FIRST\n"
        for _ in range(more):
            assert await ask_line(conn, b"next\n") == b"NEXT\n"

    for _ in range(world.integer(1, 5)):
        world.client(ask, world.integer(0, 40) / 10, world.integer(0, 3))
    await trio.sleep(world.integer(0, 30) / 10)
    if world.integer(0, 1):
        server.drain()


async def pipelined(world: World) -> None:
    """Requests that had arrived whole before the drain are answered, all of them, in order."""

    async def slow(conn: Connection) -> None:
        async for line in conn.lines():
            await trio.sleep(0.1)
            for _ in range(world.random.randint(0, 3)):
                await trio.lowlevel.checkpoint()
            await conn.send_all(line.upper())

    server = await world.serve(slow)

    async def ask(count: int, pause: float) -> None:
        conn = await world.connect(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, conn, count, pause)
            for number in range(count):
                assert await conn.receive_until(b"\n") == b"LINE %d\n" % number

    async def send(conn: Connection, count: int, pause: float) -> None:
        for number in range(count):
            await conn.send_all(b"line %d\n" % number)
            if pause:
                await trio.sleep(pause)

    for _ in range(world.integer(1, 4)):
        # All at once, or the next while one is worked on, or in step with the server.
        world.client(ask, world.integer(1, 6), world.integer(0, 2) / 20)
    await trio.sleep(world.integer(0, 5) / 10)
    server.drain()

    def all_that_were_owed() -> None:
        for connection in server.connections.values():
            answered, owed = connection.client.incoming.taken, connection.arrived_at_drain // 7 * 7
            assert answered >= owed, f"{connection.name}: {answered} bytes of {owed}"

    world.check(all_that_were_owed)


async def work_under_way(world: World) -> None:
    """Work is finished within the grace, and cut after it; the report says so."""
    server = await world.serve(work)
    answered: list[int] = []

    async def ask(seconds: int) -> None:
        conn = await world.connect(server)
        assert await ask_line(conn, b"%d\n" % seconds) == b"done\n"
        answered.append(seconds)

    times = [world.integer(1, 20) for _ in range(world.integer(1, 5))]
    for seconds in times:
        world.client(ask, seconds)
    await trio.sleep(0.5)
    server.drain(grace=10)

    def exact() -> None:
        report = server.report
        assert report is not None
        # Eleven seconds: the drain begins after half a second, and whatever has latency may come later.
        assert all(seconds in answered for seconds in times if seconds <= 9), (times, answered)
        assert report.cancelled <= sum(seconds >= 10 for seconds in times)
        assert report.cancelled >= sum(seconds >= 12 for seconds in times)
        assert report.duration <= 10.001 + 2  # the grace, and the wait for the goodbyes of the peers

    world.check(exact)


async def idle_ends(world: World) -> None:
    """Who is idle is let go at once, with an end of the stream and not a reset."""
    server = await world.serve(shout)
    ended: list[float] = []

    async def idle() -> None:
        conn = await world.connect(server)
        assert await ask_line(conn, b"one\n") == b"ONE\n"
        await conn.receive_some()
        ended.append(trio.current_time())

    count = world.integer(1, 4)
    for _ in range(count):
        world.client(idle)
    begin = world.integer(2, 20)
    await trio.sleep(begin)
    server.drain(grace=30)
    world.check(lambda: len(ended) == count and all(begin <= when <= begin + 1 for when in ended))


async def scopes(world: World) -> None:
    """A scope drains all servers in it, each of them only once, and a second drain prolongs nothing."""

    async def slow(conn: Connection) -> None:
        async for line in conn.lines():
            if line == b"long\n":
                await trio.sleep(15)
            await conn.send_all(line.upper())

    with DrainScope() as scope:
        servers = [await world.serve(slow, host=f"server{n}") for n in range(world.integer(1, 3))]

    async def ask(server: SimulatedServer) -> None:
        conn = await world.connect(server)
        for _ in range(3):
            assert await ask_line(conn, b"x\n") == b"X\n"
            await trio.sleep(0.2)

    async def wait_long(server: SimulatedServer) -> None:
        conn = await world.connect(server)
        assert await ask_line(conn, b"long\n") == b"LONG\n"

    for server in servers:
        world.client(ask, server)
        world.client(wait_long, server)
    await trio.sleep(world.integer(0, 10) / 10)
    scope.drain(grace=5)
    scope.drain(grace=20)

    def told_once() -> None:
        for server in servers:
            kinds = [type(event) for event in server.events]
            assert kinds.count(events.DrainStarted) == kinds.count(events.DrainFinished) == 1
            assert server.report is not None
            assert server.report.duration <= 7.001

    world.check(told_once)


async def suspended(world: World) -> None:
    """Who comes while the server is suspended waits, and is served when it is resumed."""
    server = await world.serve(shout, timeouts=Timeouts(idle=100))

    for _ in range(world.integer(1, 3)):
        server.suspend()
        world.client(ask_once, world, server)
        await trio.sleep(world.integer(0, 10) / 10)
        server.resume()
        world.client(ask_once, world, server)
    served = await world.serve(shout, host="other")
    world.check(lambda: served.report is not None)


async def life(world: World) -> None:
    """Whatever comes over a server, and whenever: it ends, with nothing left and exact numbers."""
    server = await world.serve(shout, timeouts=Timeouts(idle=60, grace=5))

    async def ask(count: int) -> None:
        conn = await world.connect(server)
        for number in range(count):
            assert await ask_line(conn, b"%d\n" % number) == b"%d\n" % number

    for _ in range(world.integer(1, 5)):
        world.client(ask, world.integer(0, 4))
        await trio.sleep(world.integer(0, 3) / 100)


SCENARIOS = {
    "newcomers": (newcomers, SOON),
    "newcomers, at every moment": (newcomers, Faults(drains=1.0)),
    "pipelined": (pipelined, Faults(latency=0.05, cuts=0.3)),
    "pipelined, at every moment": (pipelined, Faults(drains=0.7, cuts=0.5)),
    "work under way": (work_under_way, Faults(latency=0.05)),
    "idle ends": (idle_ends, Faults(latency=0.2, cuts=0.3)),
    "scopes": (scopes, Faults(latency=0.1)),
    "suspended": (suspended, Faults(latency=0.1)),
    "life": (life, Faults.all(drains=0.4, cancels=0.2)),
    "life, with resets": (life, Faults(drains=0.5, suspends=0.3, cancels=0.3, resets=0.5, half_closes=0.2)),
}
