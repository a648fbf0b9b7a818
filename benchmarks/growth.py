"""python -m benchmarks.growth: the growth of a server's memory with its connections.

A million connections, 32 in flight, each with one exchange, end in the three ways in turn, at a server whose
garbage collector is off: what is not freed by its last reference stays. The resident memory is read
after each tenth. The first tenth is the warm-up: there the allocator finds its size.

Then a day in simulation: a client connects every ten seconds of virtual time, says a line, and leaves in one
of the three ways. What Python has allocated is read every six hours, with the garbage collector off, too.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import math
import os
import tracemalloc

import trio
import trio.testing

import triosock
from triosock.testing import MemoryListener

from .load.connect import ENDINGS, Connects
from .load.job import Job
from .load.usage import usage
from .process import processors, started, wait_ready

PARTS = 10
#: Virtual hours between two readings, and virtual seconds between two clients.
HOURS, EVERY = 6, 10.0


def connections(count: int) -> list[float]:
    """Resident memory in MiB after each tenth of `count` connections."""
    servers, loads = processors()
    os.sched_setaffinity(0, loads)
    sizes = []
    with started("benchmarks.servers.native", ["echo", "", "no-gc"], servers) as server:
        port = wait_ready(server)
        drives = [
            Connects(Job(port, server.pid, params={"in_flight": 32, "ending": ending})).drive
            for ending in ENDINGS
        ]
        ways = itertools.cycle(drives)
        for part in range(1, PARTS + 1):
            done = 0
            while done < count // PARTS:
                done += next(ways)(math.inf, min(10_000, count // PARTS)).count
            sizes.append(usage(server.pid).resident_bytes / 2**20)
            print(f"{part * count // PARTS:>9,} connections: {sizes[-1]:.2f} MiB", flush=True)
    return sizes


async def shout(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def day(hours: float) -> list[float]:
    """What Python has allocated, in KiB, every six virtual hours."""
    sizes: list[float] = []
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(triosock.serve_listeners, shout, [listener])
        began = trio.current_time()
        for number in itertools.count():
            await visit(triosock.Connection(await listener.connect()), ENDINGS[number % 3])
            await trio.sleep(EVERY)
            if trio.current_time() - began >= HOURS * 3600 * (len(sizes) + 1):
                sizes.append(tracemalloc.get_traced_memory()[0] / 1024)
                print(f"{HOURS * len(sizes):>9} hours: {sizes[-1]:.1f} KiB", flush=True)
            if len(sizes) * HOURS >= hours:
                break
        nursery.cancel_scope.cancel()
    return sizes


async def visit(conn: triosock.Connection, ending: str) -> None:
    """A client that says a line, and leaves as `ending` says."""
    await conn.send_all(b"hello\n")
    if await conn.receive_some() != b"HELLO\n":
        raise ConnectionError("another answer than the line in capitals")
    if ending == "half-close":
        await conn.send_eof()
        if await conn.receive_some():
            raise ConnectionError("more than one answer")
    if ending == "reset":
        conn.abort()
    else:
        await conn.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=1_000_000)
    parser.add_argument("--hours", type=int, default=24)
    chosen = parser.parse_args()
    sizes = connections(chosen.connections)
    print(f"growth after the first tenth: {(sizes[-1] - sizes[0]) * 1024:.0f} KiB")
    gc.disable()
    tracemalloc.start()
    kept = trio.run(day, chosen.hours, clock=trio.testing.MockClock(autojump_threshold=0))
    print(f"growth after the first {HOURS} hours: {kept[-1] - kept[0]:.1f} KiB")


if __name__ == "__main__":
    main()
