"""Rates: never more than allowed in any time, each request answered once, and nobody overtaken by his own."""

from __future__ import annotations

import trio

from triosock import Connection, Limits, Rate
from triosock.testing.simulation import Faults, World


def is_kept(rate: Rate, times: list[float]) -> bool:
    """Whether no stretch of time has more than the burst and what came back in it."""
    return all(
        last - first + 1 <= rate.burst + (times[last] - times[first]) / rate.interval + 0.01
        for first in range(len(times))
        for last in range(first, len(times))
    )


async def in_their_turns(world: World) -> None:
    """Requests wait, on however many connections, and those of one connection stay in their order."""
    rate = Rate(world.integer(1, 5), burst=world.integer(1, 3))
    times: list[float] = []

    async def answer(conn: Connection) -> None:
        async for line in conn.lines():
            times.append(trio.current_time())
            await conn.send_all(line)

    server = await world.serve(answer, limits=Limits(request_rate=rate))

    async def ask(count: int) -> None:
        conn = await world.connect(server)
        lines = [b"%d\n" % number for number in range(count)]
        await conn.send_all(b"".join(lines))
        assert [await conn.receive_until(b"\n") for _ in lines] == lines

    for _ in range(world.integer(1, 4)):
        world.client(ask, world.integer(1, 5))
    world.check(lambda: is_kept(rate, times))


async def one_after_the_other(world: World) -> None:
    """Connections wait in the queue until they are due, and all are served in the end."""
    rate = Rate(world.integer(1, 5), burst=world.integer(1, 3))
    times: list[float] = []

    async def answer(conn: Connection) -> None:
        times.append(trio.current_time())
        await conn.send_all(b"ok\n")

    server = await world.serve(answer, limits=Limits(rate=rate))
    count = world.integer(1, 8)

    async def come() -> None:
        conn = await world.connect(server)
        assert await conn.receive_until(b"\n") == b"ok\n"

    for _ in range(count):
        world.client(come)
    world.check(lambda: is_kept(rate, times))
    world.check(lambda: len(times) == count and not server.server.statistics().refused)


SCENARIOS = {
    "in their turns": (in_their_turns, Faults(latency=0.05, jitter=0.05)),
    "in their turns, with faults": (in_their_turns, Faults(latency=0.05, cuts=0.3, suspends=0.2)),
    "one after the other": (one_after_the_other, Faults(latency=0.05, suspends=0.2)),
}
