import trio

import triosock


async def serve_all(handler, doors, task_status):
    async with trio.open_nursery() as nursery:
        for door in doors:
            nursery.start_soon(triosock.serve_listeners, handler, door)
        task_status.started()
