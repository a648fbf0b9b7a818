"""Rates and ages: no peer exceeds its rate, none is forgotten, and an old connection loses no answer."""

from __future__ import annotations

from collections import Counter

import trio

from tests.handlers import ask_line, shout
from tests.simulation.scenarios import ask_once
from triosock import Connection, Incomplete, Limits, Rate, Timeouts
from triosock.testing.simulation import Faults, World


def never_faster(times: list[float], rate: Rate) -> bool:
    """Whether no part of these times has more of them than a token bucket lets through."""
    times = sorted(times)
    return all(
        after - before + 1 <= rate.burst + (times[after] - times[before]) * rate.count / rate.per + 1e-6
        for before in range(len(times))
        for after in range(before, len(times))
    )


async def request_rates(world: World) -> None:
    """Requests wait for their turn, all of them get one, and never more than the rate says."""
    rate = Rate(world.integer(1, 4), per=1, burst=world.integer(1, 3))
    times: list[float] = []

    async def work(conn: Connection) -> None:
        async for line in conn.lines():
            times.append(trio.current_time())
            await conn.send_all(line.upper())

    server = await world.serve(work, limits=Limits(request_rate=rate))

    async def ask(count: int, together: bool) -> None:
        conn = await world.connect(server)
        if together:
            await conn.send_all(b"x\n" * count)
        for _ in range(count):
            if not together:
                await conn.send_all(b"x\n")
            assert await conn.receive_until(b"\n") == b"X\n"

    for _ in range(world.integer(1, 4)):
        world.client(ask, world.integer(1, 4), bool(world.integer(0, 1)))
    world.check(lambda: never_faster(times, rate))


async def connection_rates(world: World) -> None:
    """Connections wait in the queue for their turn, and all of them are served."""
    rate = Rate(world.integer(1, 4), per=1, burst=world.integer(1, 3))
    times: list[float] = []

    async def note(conn: Connection) -> None:
        times.append(trio.current_time())
        await shout(conn)

    server = await world.serve(note, limits=Limits(rate=rate))

    for _ in range(world.integer(1, 8)):
        world.client(ask_once, world, server, 60)
    # A drain lets in at once who stands in the queue.
    world.check(lambda: bool(world.fault_counts["drains"]) or never_faster(times, rate))


async def ages(world: World) -> None:
    """A connection that is old, or has had its requests, ends between two of them, and a new one goes on."""
    served: Counter[int] = Counter()

    async def work(conn: Connection) -> None:
        async for line in conn.lines():
            served[conn.id] += 1
            await trio.sleep(world.random.choice([0, 0.1, 2]))
            await conn.send_all(line.upper())

    timeouts = Timeouts(max_age=world.integer(3, 20))
    server = await world.serve(work, timeouts=timeouts, limits=Limits(max_requests_per_connection=3))

    async def talk(count: int) -> None:
        left = count
        while left:
            before, conn = left, await world.connect(server)
            try:
                while left:
                    assert await ask_line(conn, b"x\n") == b"X\n"
                    left -= 1
                    await trio.sleep(world.random.choice([0, 1, 4]))
            except (Incomplete, trio.BrokenResourceError):
                assert left < before, "a new connection was given no answer"
            await conn.aclose()

    for _ in range(world.integer(1, 3)):
        world.client(talk, world.integer(1, 6))
    world.check(lambda: max(served.values(), default=0) <= 3)


SCENARIOS = {
    "request rates": (request_rates, Faults(latency=0.05, cuts=0.3)),
    "connection rates": (connection_rates, Faults(latency=0.05, drains=0.2)),
    "ages": (ages, Faults(latency=0.05, cuts=0.3)),
    "ages, in step": (ages, Faults()),
}
