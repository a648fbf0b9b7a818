import trio

import triosock


async def serve_until(stop, handler, listeners):
    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_listeners, handler, listeners)
        await stop.wait()
        server.drain()
