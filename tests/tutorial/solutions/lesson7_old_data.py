async def handle(conn):
    while True:
        with conn.idle():
            data = await conn.receive_exactly(8)
        await conn.send_all(data[::-1])
