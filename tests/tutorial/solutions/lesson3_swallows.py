import trio

import triosock


async def serve_all(handler, doors, task_status):
    servers = []
    async with trio.open_nursery() as nursery:
        for door in doors:
            try:
                servers.append(await nursery.start(triosock.serve_listeners, handler, door))
            except Exception:
                pass
        task_status.started(servers)
