"""The handler of the how-to guides."""


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())
