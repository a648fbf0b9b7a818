"""Datagrams and sessions: each accounted for, each peer in its own order."""

from __future__ import annotations

import trio

from triosock import Datagram, Limits, Session, Sessions
from triosock.testing.simulation import Faults, World


async def echo(datagram: Datagram) -> None:
    await trio.sleep(0.1)
    await datagram.reply(datagram.data)


async def replies(world: World) -> None:
    """What is not lost is answered once for each time that it came."""
    limits = Limits(max_connections=world.integer(1, 5), max_pending_datagrams=world.integer(1, 20))
    server = await world.serve_datagrams(echo, limits=limits)

    async def talk(count: int) -> None:
        client = world.datagram_client(server)
        for number in range(count):
            await client.send(b"%d" % number)
        with trio.move_on_after(10):
            while True:
                assert int(await client.receive()) < count

    for _ in range(world.integer(1, 3)):
        world.client(talk, world.integer(1, 8))


async def slots(world: World) -> None:
    """With few slots every datagram that arrives is answered in the end."""
    server = await world.serve_datagrams(echo, limits=Limits(max_connections=world.integer(1, 4)))

    async def talk(count: int) -> None:
        client = world.datagram_client(server)
        for number in range(count):
            await client.send(b"%d" % number)
        with trio.fail_after(60):
            assert {int(await client.receive()) for _ in range(count)} == set(range(count))

    for _ in range(world.integer(1, 4)):
        world.client(talk, world.integer(1, 6))


async def sessions(world: World) -> None:
    """A session sees its peer's datagrams in their order, and ends when they stop."""
    lives: list[list[int]] = []

    async def serve(session: Session) -> None:
        seen: list[int] = []
        lives.append(seen)
        async for data in session:
            seen.append(int(bytes(data)))
            await session.send(data)

    server = await world.serve_datagrams(serve, sessions=Sessions(idle=10))
    counts = [world.integer(1, 6) for _ in range(world.integer(1, 3))]
    gaps = world.integer(0, 9)

    async def talk(count: int) -> None:
        client = world.datagram_client(server)
        for number in range(count):
            await client.send(b"%d" % number)
            assert int(await client.receive()) == number
            await trio.sleep(gaps)

    for count in counts:
        world.client(talk, count)
    await trio.sleep(200)
    left = len(server.server.statistics().ended) and server.server.statistics().active
    assert not left, f"{left} sessions are left"
    world.check(lambda: sorted(lives) == sorted(list(range(count)) for count in counts))


async def short_sessions(world: World) -> None:
    """What comes when a session ends is served by the next one, or counted."""

    async def once(session: Session) -> None:
        async for data in session:
            await trio.sleep(0.1)
            await session.send(data)
            return

    server = await world.serve_datagrams(once, sessions=Sessions(idle=10))
    count = world.integer(1, 6)
    answers: list[bytes] = []

    async def talk() -> None:
        client = world.datagram_client(server)
        for number in range(count):
            await client.send(b"%d" % number)
            if world.integer(0, 1):
                await trio.sleep(0.07)
        with trio.move_on_after(60):
            while len(answers) < count:
                answers.append(await client.receive())

    world.client(talk)
    world.check(lambda: answers == [b"%d" % number for number in range(count)])


async def drained(world: World) -> None:
    """What had arrived before the drain is answered."""

    async def slow(datagram: Datagram) -> None:
        await trio.sleep(0.5)
        await datagram.reply(datagram.data)

    server = await world.serve_datagrams(slow)
    count = world.integer(1, 5)
    answers: list[bytes] = []

    async def talk() -> None:
        client = world.datagram_client(server)
        for number in range(count):
            await client.send(b"%d" % number)
        with trio.move_on_after(20):
            while len(answers) < count:
                answers.append(await client.receive())

    world.client(talk)
    await trio.sleep(world.integer(2, 10) / 10)
    server.drain()
    world.check(lambda: len(answers) == count)


SCENARIOS = {
    "replies": (replies, Faults.all(truncations=0.0)),
    "datagrams and slots": (slots, Faults(latency=0.05)),
    "sessions": (sessions, Faults(latency=0.05)),
    "sessions, with faults": (replies, Faults(losses=0.3, duplicates=0.3, reorders=0.3, drains=0.3)),
    "short sessions": (short_sessions, Faults()),
    "datagrams drained": (drained, Faults()),
}
