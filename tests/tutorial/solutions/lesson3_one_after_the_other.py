import triosock


async def serve_all(handler, doors, task_status):
    servers = []
    for door in doors:
        server = await triosock.serve_listeners(handler, door)
        servers.append(server)
    task_status.started(servers)
