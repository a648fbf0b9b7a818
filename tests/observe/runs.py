"""A run that has everything to draw, in virtual time on a memory network: the same every time."""

from __future__ import annotations

import trio
import trio.testing

import triosock
from tests.servers import drained
from triosock.observe import Timeline
from triosock.testing import MemoryListener, MemoryStream

TIMEOUTS = triosock.Timeouts(request=1.0, idle=3.0, close=0.2)


async def work(conn: triosock.Connection) -> None:
    """Each line says for how many seconds to work; "boom" fails."""
    async for line in conn.lines():
        if line == b"boom\n":
            await trio.sleep(0.25)
            raise ValueError("the <handler> & its \x1b[31m error")
        await trio.sleep(float(line))
        await conn.send_all(b"done\n")


async def raw(conn: triosock.Connection) -> None:
    """Reads by itself, so that nobody knows what is a request."""
    while await conn.receive_some():
        pass


async def visit(
    listener: MemoryListener, at: float, *says: tuple[float, bytes], leave: float | None = None
) -> None:
    """Connect `at`, say things at their times, read all that comes, abort at `leave`."""
    start = trio.current_time()
    await trio.sleep(at)
    async with await listener.connect() as client, trio.open_nursery() as nursery:

        async def talk() -> None:
            for when, line in says:
                await trio.sleep_until(start + when)
                await client.send_all(line)
            if leave is not None:
                await trio.sleep_until(start + leave)
                client.abort()

        nursery.start_soon(talk)
        await read_all(client)
        nursery.cancel_scope.cancel()


async def read_all(client: MemoryStream) -> None:
    try:
        while await client.receive_some():
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def shop(*, observers: tuple[triosock.Observer, ...] = ()) -> None:
    """Two servers: "shop" is drained at 4 s with 0.3 s of grace, "raw" is cancelled at 5 s."""
    shop, other = MemoryListener("shop"), MemoryListener("raw")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: triosock.serve_listeners(
                work, [shop], timeouts=TIMEOUTS, name="shop", observers=observers, task_status=task_status
            )
        )
        await nursery.start(
            lambda task_status: triosock.serve_listeners(raw, [other], name="raw", task_status=task_status)
        )
        clients = [
            (shop, 0.1, (0.2, b"0.4\n"), (1.0, b"0.3\n"), (1.8, b"0.9\n")),
            (shop, 0.2),
            (shop, 0.3, (0.6, b"boom\n")),
            (shop, 0.5, (0.5, b"2.0\n")),
            (shop, 2.1, (2.3, b"0.6\n"), (3.2, b"0.2\n")),
            (shop, 3.6, (3.6, b"0.9\n")),
            (shop, 3.7, (3.8, b"0.35\n")),
            (other, 0.4, (0.4, b"hello"), (0.9, b"again")),
        ]
        for client in clients:
            nursery.start_soon(visit, *client)
        nursery.start_soon(lambda: visit(shop, 1.2, (1.3, b"half a line"), leave=2.0))
        nursery.start_soon(lambda: visit(other, 2.0, (2.0, b"bye"), leave=3.0))
        await trio.sleep(4)
        await drained(server, grace=0.3)
        await trio.sleep(0.7)
        nursery.cancel_scope.cancel()


def record_shop(**options: int) -> Timeline:
    with Timeline(**options) as timeline:
        trio.run(shop, clock=trio.testing.MockClock(autojump_threshold=0))
    return timeline
