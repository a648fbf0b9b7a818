"""What a handler can do in a drain, and what a program can do with the report."""

import trio

import triosock


async def tick(conn):
    """Never waits for its peer, so it must look for itself whether it is time to go."""
    while not triosock.draining():
        await conn.send_all(b"tick\n")
        with trio.move_on_after(1):
            await triosock.wait_draining()
    await conn.send_all(b"goodbye\n")


async def serve_until(event, handler, listeners):
    """Drain when something happens; say how it went."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_listeners, handler, listeners)
        await event.wait()
        server.drain(grace=10)
        report = await server.wait_closed()
    return report
