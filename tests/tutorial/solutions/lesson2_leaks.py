import trio

import triosock


async def serve_until(stop, handler, listeners):
    trio.lowlevel.spawn_system_task(triosock.serve_listeners, handler, listeners)
    await stop.wait()
