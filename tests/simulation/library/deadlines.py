"""Timeouts: no connection is cut early, and none stays too long."""

from __future__ import annotations

import trio

from tests.handlers import ask_line, shout
from tests.simulation.scenarios import work
from triosock import Cause, Connection, Timeouts, events
from triosock.testing.simulation import Faults, World

from .layers import PROXIES


async def idle(world: World) -> None:
    """Who says something every nine seconds is not idle for ten; who says nothing is let go then."""
    server = await world.serve(shout, timeouts=Timeouts(idle=10, close=1))
    rests = [world.integer(0, 90) / 10 for _ in range(world.integer(1, 5))]

    async def talk() -> None:
        conn = await world.connect(server)
        for rest in rests:
            await trio.sleep(rest)
            assert await ask_line(conn, b"x\n") == b"X\n"
        began = trio.current_time()
        assert await conn.receive_some() == b""
        assert 9.5 <= trio.current_time() - began <= 11

    for _ in range(world.integer(1, 3)):
        world.client(talk)
    world.check(
        lambda: (
            {one.cause for one in server.events if isinstance(one, events.ConnectionClosed)} == {Cause.IDLE}
        )
    )


async def stalled(world: World) -> None:
    """Who was in time is not cut because the event loop stood still."""
    server = await world.serve(shout, timeouts=Timeouts(idle=10, send=10))

    async def talk() -> None:
        conn = await world.connect(server)
        for _ in range(4):
            assert await ask_line(conn, b"x\n") == b"X\n"
            await trio.sleep(world.integer(0, 90) / 10)
        await conn.send_eof()
        assert await conn.receive_some() == b""

    for _ in range(world.integer(1, 3)):
        world.client(talk)


async def stalled_requests(world: World) -> None:
    """A request whose rest has come is not cut because the event loop was too late to read it."""
    server = await world.serve(shout, timeouts=Timeouts(request=10))

    async def talk() -> None:
        conn = await world.connect(server)
        for _ in range(4):
            for byte in b"xyz\n":
                await conn.send_all(bytes([byte]))
                await trio.sleep(world.integer(0, 20) / 10)
            assert await conn.receive_until(b"\n") == b"XYZ\n"

    for _ in range(world.integer(1, 3)):
        world.client(talk)

    def none_unread() -> None:
        for connection in server.connections.values():
            assert connection.cause is not Cause.REQUEST or not connection.server.closed_with_input, (
                connection.name
            )

    world.check(none_unread)


async def idle_in_pieces(world: World) -> None:
    """A request that comes byte by byte is not idle, however long it takes."""
    server = await world.serve(shout, timeouts=Timeouts(idle=10))

    async def talk() -> None:
        conn = await world.connect(server)
        for byte in b"slow\n":
            await conn.send_all(bytes([byte]))
            await trio.sleep(world.integer(0, 9))
        assert await conn.receive_until(b"\n") == b"SLOW\n"

    world.client(talk)
    world.client(talk)


async def told(world: World) -> None:
    """Who only listens is not idle, as long as there is something to be told, and is let go after that."""
    rests = [world.integer(1, 90) / 10 for _ in range(world.integer(1, 6))]

    async def tell(conn: Connection) -> None:
        for rest in rests:
            await trio.sleep(rest)
            await conn.send_all(b"news\n")

    async def listen(conn: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, conn)
            async for _ in conn.lines():
                pass

    server = await world.serve(listen, timeouts=Timeouts(idle=10, close=1))

    async def hear() -> None:
        conn = await world.connect(server)
        for _ in rests:
            assert await conn.receive_until(b"\n") == b"news\n"
        began = trio.current_time()
        assert await conn.receive_some() == b""
        assert 9.5 <= trio.current_time() - began <= 11

    for _ in range(world.integer(1, 3)):
        world.client(hear)


async def requests(world: World) -> None:
    """A request is cut when its time is over, and not before; the next one has a time of its own."""
    server = await world.serve(work, timeouts=Timeouts(request=10))
    too_long: list[int] = []

    async def ask(seconds: list[int], pause: int) -> None:
        conn = await world.connect(server)
        for number in seconds:
            await conn.send_all(b"%d\n" % number)
            began = trio.current_time()
            try:
                assert await conn.receive_until(b"\n") == b"done\n"
            except trio.BrokenResourceError:
                assert number > 9
                assert 10 <= trio.current_time() - began <= 11.5
                too_long.append(number)
                return
            assert number < 11
            await trio.sleep(pause)

    for _ in range(world.integer(1, 3)):
        pause = world.integer(0, 15)
        world.client(ask, [world.integer(0, 20) for _ in range(world.integer(1, 4))], pause)
    world.check(lambda: server.server.statistics().ended.get(Cause.REQUEST, 0) == len(too_long))


async def sends(world: World) -> None:
    """A client that takes something every few seconds is not cut; one that takes nothing is."""
    size = 200_000

    async def flood(conn: Connection) -> None:
        await conn.send_all(b"x" * size)

    server = await world.serve(flood, timeouts=Timeouts(send=30))

    async def slow(pause: int, most: int) -> None:
        conn = await world.connect(server)
        received = 0
        while received < size:
            data = await conn.receive_some(most)
            assert data, f"ended after {received} bytes"
            received += len(data)
            await trio.sleep(pause)

    async def stuck() -> None:
        conn = await world.connect(server)
        await trio.sleep(100)
        try:
            while await conn.receive_some():
                pass
        except trio.BrokenResourceError:
            return
        raise AssertionError("one that took nothing was sent everything")

    world.client(slow, world.integer(0, 9), world.integer(1, 6) * 4096)
    world.client(stuck)
    world.check(lambda: server.server.statistics().ended.get(Cause.SEND, 0) == 1)


async def handshakes(world: World) -> None:
    """Who sends no header in time is let go; who sends it in pieces is served."""
    server = await world.serve(shout, proxy=PROXIES, timeouts=Timeouts(handshake=10))

    async def proxied(pause: float) -> None:
        conn = await world.connect(server)
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n"
        half = world.integer(1, len(header) - 1)
        await conn.send_all(header[:half])
        await trio.sleep(pause)
        assert await ask_line(conn, header[half:] + b"x\n") == b"X\n"

    async def silent() -> None:
        conn = await world.connect(server)
        began = trio.current_time()
        await conn.receive_some()
        # The time began when it was accepted, and latency is up to a twentieth of a second.
        assert 9.9 <= trio.current_time() - began <= 11

    world.client(proxied, world.integer(0, 8))
    world.client(silent)


SCENARIOS = {
    "idle": (idle, Faults(latency=0.05)),
    "stalled": (stalled, Faults(latency=0.05, stalls=1.0, stall=20.0)),
    "stalled requests": (stalled_requests, Faults(latency=0.5, stalls=1.0, stall=20.0)),
    "idle, in pieces": (idle_in_pieces, Faults(latency=0.05, cuts=0.5)),
    "told": (told, Faults(latency=0.05)),
    "requests": (requests, Faults(latency=0.05, cuts=0.2)),
    "sends": (sends, Faults(latency=0.05)),
    "handshakes": (handshakes, Faults(latency=0.05)),
}
