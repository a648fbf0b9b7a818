import trio

import triosock


async def serve_until(stop, handler, listeners):
    async with trio.open_nursery() as nursery:
        trio.lowlevel.spawn_system_task(trio.sleep_forever)
        await nursery.start(triosock.serve_listeners, handler, listeners)
        await stop.wait()
        nursery.cancel_scope.cancel()
