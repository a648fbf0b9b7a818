import triosock


async def handle(conn):
    async for data in conn.frames(triosock.FixedSize(8)):
        await conn.send_all(data[::-1])
