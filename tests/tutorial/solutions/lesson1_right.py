async def handle(conn):
    number = 0
    async for line in conn.lines():
        number += 1
        await conn.send_all(b"%d %s" % (number, line))
