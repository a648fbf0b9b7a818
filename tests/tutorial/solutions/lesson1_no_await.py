async def handle(conn):
    count = 0
    async for line in conn.lines():
        count += 1
        conn.send_all(b"%d %s" % (count, line))
