async def handle(conn):
    line = await conn.receive_until(b"\n")
    await conn.send_all(b"1 " + line)
