"""Scenarios that several tests simulate. Imports nothing of pytest: a process of its own runs them, too."""

from __future__ import annotations

from tests.handlers import ask_line, shout
from triosock import Connection
from triosock.testing.simulation import SimulatedServer, World


async def ask(world: World, server: SimulatedServer, times: int) -> None:
    """Ask for a few lines in capitals."""
    conn = await world.connect(server)
    for number in range(times):
        assert await ask_line(conn, b"hello %d\n" % number) == b"HELLO %d\n" % number


async def shouting(world: World) -> None:
    server = await world.serve(shout)
    for _ in range(world.integer(1, 4)):
        world.client(ask, world, server, world.integer(1, 4))


async def careless(conn: Connection) -> None:
    """Takes what comes in one piece for one line."""
    while line := await conn.receive_some(100):
        assert line.endswith(b"\n"), f"{line!r} is no line"
        await conn.send_all(line.upper())


async def carelessness(world: World) -> None:
    server = await world.serve(careless)
    for _ in range(world.integer(1, 4)):
        world.client(ask, world, server, world.integer(1, 4))
