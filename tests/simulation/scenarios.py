"""Scenarios that several tests simulate. Imports nothing of pytest: a process of its own runs them, too."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from tests.handlers import ask_line, shout
from triosock import Connection
from triosock.testing.simulation import SimulatedServer, World


async def ask(world: World, server: SimulatedServer, times: int) -> None:
    """Ask for a few lines in capitals."""
    conn = await world.connect(server)
    for number in range(times):
        assert await ask_line(conn, b"hello %d\n" % number) == b"HELLO %d\n" % number


async def ask_once(world: World, server: SimulatedServer, within: float = math.inf) -> None:
    """Connect, and have one line answered in so many seconds."""
    conn = await world.connect(server)
    with trio.fail_after(within):
        assert await ask_line(conn, b"x\n") == b"X\n"


def ask_some(world: World, server: SimulatedServer) -> None:
    """Start a few clients that ask for a few lines."""
    for _ in range(world.integer(1, 4)):
        world.client(ask, world, server, world.integer(1, 4))


def one_client(
    talk: Callable[[Connection], Awaitable[object]], handler: Any = shout, **options: Any
) -> Callable[[World], Awaitable[None]]:
    """Return a scenario: a server, and a client that connects and talks."""

    async def scenario(world: World) -> None:
        server = await world.serve(handler, **options)

        async def connect() -> None:
            await talk(await world.connect(server))

        world.client(connect)

    return scenario


async def shouting(world: World) -> None:
    ask_some(world, await world.serve(shout))


async def careless(conn: Connection) -> None:
    """Takes what comes in one piece for one line."""
    while line := await conn.receive_some(100):
        assert line.endswith(b"\n"), f"{line!r} is no line"
        await conn.send_all(line.upper())


async def carelessness(world: World) -> None:
    ask_some(world, await world.serve(careless))


async def work(conn: Connection) -> None:
    """Work on each line for as many seconds as it says."""
    async for line in conn.lines():
        await trio.sleep(int(line))
        await conn.send_all(b"done\n")
