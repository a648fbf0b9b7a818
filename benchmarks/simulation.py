"""python -m benchmarks.simulation: the speed of a simulated world, in seconds of one core.

Exchanges a second: a client sends a line and receives it back in capitals, over a connection that is there.
Hours a second: a client that speaks once a minute, under an idle timeout of half an hour.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import trio

import triosock
from triosock.testing import Faults, World, simulate

EXCHANGES = 20_000
CLIENTS = 4
DAYS = 4


async def shout(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def talk(world: World, server: object, times: int, pause: float) -> None:
    conn = await world.connect(server)
    for _ in range(times):
        await conn.send_all(b"hello, you there\n")
        assert await conn.receive_until(b"\n") == b"HELLO, YOU THERE\n"
        if pause:
            await trio.sleep(pause)


def exchanging(times: int, pause: float, clients: int) -> Callable[[World], Awaitable[None]]:
    async def scenario(world: World) -> None:
        server = await world.serve(shout)
        for _ in range(clients):
            world.client(talk, world, server, times // clients, pause)

    return scenario


def main() -> None:
    for name, faults in (
        ("without faults", Faults()),
        ("with latency and pieces", Faults(latency=0.1, cuts=1.0)),
    ):
        began = time.process_time()
        simulate(exchanging(EXCHANGES // 10, 0.0, CLIENTS), seeds=10, faults=faults)
        print(f"{name}: {EXCHANGES / (time.process_time() - began):,.0f} exchanges a second")
    began = time.process_time()
    done = simulate(exchanging(DAYS * 24 * 60, 60.0, 1), seeds=1, max_seconds=1e9, max_steps=10**9)
    print(f"quiet: {done.seconds / 3600 / (time.process_time() - began):,.0f} simulated hours a second")


if __name__ == "__main__":
    main()
