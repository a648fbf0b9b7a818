"""A `trio.CapacityLimiter` for a resource that all connections share."""

import trio


def make_handler(ask_database, most=10):
    database = trio.CapacityLimiter(most)

    async def handle(conn):
        async for line in conn.lines():
            async with database:
                answer = await ask_database(line)
            await conn.send_all(answer)

    return handle
