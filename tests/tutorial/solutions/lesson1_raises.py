async def handle(conn):
    async for line in conn.lines():
        await conn.send_all("1 " + line)
