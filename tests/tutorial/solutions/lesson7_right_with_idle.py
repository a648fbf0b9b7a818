async def handle(conn):
    while True:
        first = b""
        with conn.idle():
            first = await conn.receive_some(8)
        if not first:
            return
        data = first + await conn.receive_exactly(8 - len(first))
        await conn.send_all(data[::-1])
