"""Limits: never more than allowed, no connection forgotten, and every slot freed."""

from __future__ import annotations

import trio

from tests.handlers import ask_line, shout
from tests.simulation.scenarios import ask_once
from triosock import Connection, Limits, TcpAddress, Timeouts
from triosock.testing.simulation import Faults, World


async def slots(world: World) -> None:
    """With few slots everybody is served in the end, also when those inside or outside give up."""
    most = world.integer(1, 3)
    inside: set[int] = set()

    async def hold(conn: Connection) -> None:
        inside.add(conn.id)
        assert len(inside) <= most
        try:
            async for line in conn.lines():
                await trio.sleep(0.2)
                await conn.send_all(line.upper())
        finally:
            inside.discard(conn.id)

    server = await world.serve(hold, limits=Limits(max_connections=most))

    async def impatient(seconds: float) -> None:
        with trio.move_on_after(seconds):
            await ask_once(world, server, 100)

    for _ in range(world.integer(1, 4)):
        world.client(ask_once, world, server, 100)
        world.client(impatient, world.integer(0, 5) / 10)
    world.check(lambda: server.server.statistics().peak <= most)


async def short_stays(world: World) -> None:
    """Those who stay for a few steps only, one after the other and all at once, get in, all of them."""

    async def stay(conn: Connection) -> None:
        for _ in range(world.random.randint(0, 3)):
            await trio.lowlevel.checkpoint()
        if world.random.randint(0, 1):
            conn.abort()
        else:
            await conn.send_all(b"ok")

    limits = Limits(max_connections=world.integer(1, 3))
    server = await world.serve(stay, limits=limits, timeouts=Timeouts(close=0), backlog=4)
    count = world.integer(1, 10)

    async def come() -> None:
        conn = await world.connect(server)
        try:
            assert await conn.receive_some() in (b"", b"o", b"ok")
        except trio.BrokenResourceError:
            pass  # it was aborted

    for _ in range(count):
        world.client(come)
    world.check(lambda: server.server.statistics().accepted == count or bool(world.fault_counts))


async def cut_in_the_queue(world: World) -> None:
    """When the grace of a drain is over, those inside and those who wait for a slot are cut, all of them."""

    async def hold(conn: Connection) -> None:
        async for line in conn.lines():
            await trio.sleep(world.random.choice([0.1, 1, 3, 20]))
            await conn.send_all(line.upper())

    server = await world.serve(hold, limits=Limits(max_connections=world.integer(1, 2)))

    for _ in range(world.integer(1, 6)):
        world.client(ask_once, world, server)
    await trio.sleep(0.5)
    server.drain(grace=5)


async def turned_away(world: World) -> None:
    """One too many is told so, and the others never notice."""

    async def sorry(conn: Connection) -> None:
        await conn.send_all(b"full\n")

    async def hold(conn: Connection) -> None:
        async for line in conn.lines():
            await trio.sleep(1)
            await conn.send_all(line.upper())

    most = world.integer(1, 2)
    server = await world.serve(hold, limits=Limits(max_connections=most, overflow=sorry))
    answers: list[bytes] = []

    async def ask() -> None:
        conn = await world.connect(server)
        answer = await ask_line(conn, b"x\n")
        assert answer in (b"X\n", b"full\n")
        answers.append(answer)

    count = world.integer(1, 6)
    for _ in range(count):
        world.client(ask)
    world.check(lambda: answers.count(b"X\n") == min(count, most) and len(answers) == count)


async def of_one_peer(world: World) -> None:
    """One peer has no more than its share, and the share of one that has left is free again."""
    server = await world.serve(shout, limits=Limits(max_connections_per_peer=2))

    async def visit(number: int, times: int) -> None:
        for turn in range(times):
            peer = TcpAddress("192.0.2.7", 1000 + 100 * number + turn)
            conn = await world.connect(server, peer=peer)
            assert await ask_line(conn, b"x\n") == b"X\n"
            await conn.aclose()
            await trio.sleep(5)  # longer than the goodbye takes

    world.client(visit, 1, world.integer(1, 3))
    world.client(visit, 2, world.integer(1, 3))

    async def third() -> None:
        await trio.sleep(0.01)
        conns = []
        for port in range(3):
            conns.append(await world.connect(server, host="many", peer=TcpAddress("192.0.2.9", 10 + port)))
            await trio.sleep(0.5)
        for conn in conns[:2]:
            assert await ask_line(conn, b"x\n") == b"X\n"
        assert await conns[2].receive_some() == b""

    world.client(third)
    world.check(lambda: server.server.statistics().refused.get("peer", 0) == 1)


async def failed_accepts(world: World) -> None:
    """Whatever accept fails with, everybody whom the network has not lost is served."""
    server = await world.serve(shout)

    for _ in range(world.integer(1, 6)):
        world.client(ask_once, world, server, 600)
        await trio.sleep(world.integer(0, 2) / 10)


async def failing_handlers(world: World) -> None:
    """A handler that fails costs its own connection, and gives its slot back."""

    async def fail_sometimes(conn: Connection) -> None:
        async for line in conn.lines():
            if line == b"fail\n":
                raise LookupError("no such thing")
            await conn.send_all(line.upper())

    server = await world.serve(fail_sometimes, limits=Limits(max_connections=2), may_fail=(LookupError,))
    resets: list[int] = []

    async def fail() -> None:
        conn = await world.connect(server)
        await conn.send_all(b"fail\n")
        try:
            await conn.receive_some()
        except trio.BrokenResourceError:
            resets.append(1)

    count = world.integer(1, 4)
    for _ in range(count):
        world.client(fail)
        world.client(ask_once, world, server)
    world.check(lambda: len(resets) == count)


async def half_answers(world: World) -> None:
    """An answer that ends with an end of the stream is a whole one; after half of one comes a reset."""

    async def answer(conn: Connection) -> None:
        line = await conn.receive_until(b"\n")
        await conn.send_all(b"half")
        if line == b"fail\n":
            raise LookupError("no such thing")
        await conn.send_all(b" and half\n")

    server = await world.serve(answer, may_fail=(LookupError,))

    async def ask(line: bytes) -> None:
        conn = await world.connect(server)
        await conn.send_all(line)
        answer = bytearray()
        try:
            while data := await conn.receive_some():
                answer += data
        except trio.BrokenResourceError:
            assert line == b"fail\n"
        else:
            assert answer == b"half and half\n"

    for _ in range(world.integer(1, 4)):
        world.client(ask, world.random.choice([b"fail\n", b"do not\n"]))


SCENARIOS = {
    "slots": (slots, Faults(latency=0.05, jitter=0.05)),
    "slots, with faults": (slots, Faults(latency=0.05, cancels=0.2, drains=0.2, suspends=0.2)),
    "short stays": (short_stays, Faults()),
    "short stays, with faults": (short_stays, Faults(cancels=0.6, drains=0.4, suspends=0.2)),
    "cut in the queue": (cut_in_the_queue, Faults(latency=0.05)),
    "turned away": (turned_away, Faults(cuts=0.3)),
    "of one peer": (of_one_peer, Faults(latency=0.05)),
    "failed accepts": (failed_accepts, Faults(accept_errors=0.5, latency=0.02)),
    "half answers": (half_answers, Faults(cuts=0.3, latency=0.02)),
    "failing handlers": (failing_handlers, Faults(cuts=0.3, latency=0.02)),
}
