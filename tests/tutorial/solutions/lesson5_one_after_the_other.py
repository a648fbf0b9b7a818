async def answer(conn, left, right):
    async for line in conn.lines():
        try:
            await conn.send_all(await left(line) + b" " + await right(line) + b"\n")
        except Exception:
            await conn.send_all(b"error\n")
