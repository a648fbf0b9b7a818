"""Bytes and frames: none lost, none doubled, none out of order, wherever they are cut."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from tests.handlers import ask_line
from triosock import Connection, Delimited, FixedSize, Framer, LengthPrefixed, Netstrings
from triosock.testing.simulation import Faults, World

#: As a client writes a frame, and as a server that is asked to repeat it answers.
FRAMERS: list[tuple[Framer, int]] = [
    (Delimited(b"\r\n"), 300),
    (LengthPrefixed(2), 300),
    (Netstrings(), 300),
    (FixedSize(7), 7),
]


def frame(framer: Framer, data: bytes) -> bytes:
    """Return the bytes that stand for `data`."""
    match framer:
        case LengthPrefixed():
            return len(data).to_bytes(2, "big") + data
        case Netstrings():
            return b"%d:%b," % (len(data), data)
        case FixedSize():
            return data.ljust(7, b".")
        case _:
            return data + b"\r\n"


async def frames(world: World) -> None:
    """Each frame comes out as it went in, and in its order."""
    framer, most = FRAMERS[world.integer(0, len(FRAMERS) - 1)]
    sent = [bytes([65 + number % 26]) * world.integer(1, most) for number in range(world.integer(1, 12))]
    seen: list[bytes] = []

    async def note(conn: Connection) -> None:
        async for one in conn.frames(framer):
            seen.append(bytes(one))
            await conn.send_all(b"%d\n" % len(seen))

    server = await world.serve(note)

    async def send() -> None:
        conn = await world.connect(server)
        async with trio.open_nursery() as nursery:  # who only sends may fill the buffers of both directions
            nursery.start_soon(conn.send_all, b"".join(frame(framer, data) for data in sent))
            for number in range(len(sent)):
                assert await conn.receive_until(b"\n") == b"%d\n" % (number + 1)
        await conn.send_eof()
        assert await conn.receive_some() == b""

    world.client(send)

    def the_same() -> None:
        wanted = [data.ljust(7, b".") if isinstance(framer, FixedSize) else data for data in sent]
        assert [one.rstrip(b"\r\n") for one in seen] == wanted, f"{seen} instead of {wanted}"

    world.check(the_same)


async def mixed(world: World) -> None:
    """Ways of reading may be mixed, and none takes what is another's."""

    async def read(conn: Connection) -> None:
        while await conn.wait_request():
            head = await conn.receive_until(b"\n")
            body = await conn.receive_exactly(int(head))
            await conn.send_all(head + body)

    server = await world.serve(read)

    async def talk(sizes: list[int], pipelined: bool) -> None:
        conn = await world.connect(server)
        requests = [b"%d\n" % size + bytes([97 + size % 26]) * size for size in sizes]
        async with trio.open_nursery() as nursery:
            if pipelined:
                nursery.start_soon(conn.send_all, b"".join(requests))
            for request in requests:
                if not pipelined:
                    nursery.start_soon(conn.send_all, request)
                assert await conn.receive_exactly(len(request)) == request

    for _ in range(world.integer(1, 3)):
        sizes = [world.integer(0, 200) for _ in range(world.integer(1, 4))]
        world.client(talk, sizes, bool(world.integer(0, 1)))


async def bulk(world: World) -> None:
    """Much, in both directions at once, with an end in one of them."""

    async def echo(conn: Connection) -> None:
        async for data in conn:
            await conn.send_all(data)

    server = await world.serve(echo)
    size = world.integer(1, 2000)
    data = bytes(number % 251 for number in range(size))

    async def both() -> None:
        conn = await world.connect(server)
        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, conn)
            while piece := await conn.receive_some():
                received += piece
        assert received == data

    async def send(conn: Connection) -> None:
        await conn.send_all(data)
        await conn.send_eof()

    world.client(both)


async def cancelled_receives(world: World) -> None:
    """A receive that is cancelled, at whatever step, has taken nothing; any other may be the next."""
    ways: list[Callable[[Connection, int], Awaitable[bytes]]] = [
        lambda conn, left: conn.receive_until(b"\n"),
        lambda conn, left: conn.receive_exactly(1),
        lambda conn, left: conn.receive_some(left),
    ]

    async def cancel_soon(scope: trio.CancelScope, seconds: float) -> None:
        await trio.sleep(seconds)
        for _ in range(world.random.randint(0, 8)):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    async def echo(conn: Connection) -> None:
        seen = b""
        while not seen.endswith(b"bye\n"):
            seconds = world.random.choice([0.0, 0.0, 0.01, 0.03])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_soon, nursery.cancel_scope, seconds)
                got = b""
                got = await world.random.choice(ways)(conn, 100)
                seen += got
                nursery.cancel_scope.cancel()
            if got:
                await conn.send_all(got)

    server = await world.serve(echo)

    async def talk() -> None:
        conn = await world.connect(server)
        for word in (b"hello\n", b"slow\n", b"bye\n"):
            for byte in word:
                await conn.send_all(bytes([byte]))
                if world.integer(0, 3) == 3:
                    await trio.sleep(0.02)
            with trio.fail_after(10):
                assert await conn.receive_exactly(len(word)) == word

    world.client(talk)


async def last_words(world: World) -> None:
    """A handler that returns before it has read everything has its answer arrive all the same."""

    async def short(conn: Connection) -> None:
        await conn.receive_until(b"\n")
        await conn.send_all(b"no, and goodbye\n")

    server = await world.serve(short)

    async def talk(more: int) -> None:
        conn = await world.connect(server)
        assert await ask_line(conn, b"may I?\n" + b"x" * more) == b"no, and goodbye\n"
        assert await conn.receive_some() == b""

    for _ in range(world.integer(1, 3)):
        world.client(talk, world.integer(0, 50_000))


CUT = partial(Faults, cuts=0.8, small_buffers=0.4, latency=0.02, jitter=0.01)

SCENARIOS = {
    "frames": (frames, CUT()),
    "mixed": (mixed, CUT()),
    "bulk": (bulk, CUT(bandwidth=10_000_000)),
    "cancelled receives": (cancelled_receives, CUT(small_buffers=0.0)),
    "cancelled receives, at every moment": (cancelled_receives, Faults(cuts=0.5)),
    "last words": (last_words, Faults(cuts=0.3, latency=0.02)),
}
