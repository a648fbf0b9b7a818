import trio

import triosock


async def serve_all(handler, doors, task_status):
    async with trio.open_nursery() as nursery:
        servers = [await nursery.start(triosock.serve_listeners, handler, door) for door in doors]
        task_status.started(servers)
