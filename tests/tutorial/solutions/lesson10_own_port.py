import triosock


async def handle(conn):
    async for line in conn.lines():
        await conn.send_all(line.strip()[::-1] + b"\n")


async def worker():
    await triosock.serve_tcp(handle, 0, host="127.0.0.1")
