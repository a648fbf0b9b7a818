import trio

import triosock


async def handle(conn):
    async for line in conn.lines():
        await conn.send_all(line.strip()[::-1] + b"\n")


async def worker():
    with triosock.DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(triosock.serve_listeners, handle, triosock.inherited_listeners())
            await scope.wait_draining()
            nursery.cancel_scope.cancel()
