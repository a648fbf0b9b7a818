async def handle(conn):
    while True:
        data = b""
        while len(data) < 8:
            more = b""
            with conn.idle():
                more = await conn.receive_some(8 - len(data))
            if not more:
                return
            data += more
        await conn.send_all(data[::-1])
