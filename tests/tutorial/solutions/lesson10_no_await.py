import triosock


async def handle(conn):
    async for line in conn.lines():
        await conn.send_all(line.strip()[::-1] + b"\n")


async def worker():
    triosock.serve_listeners(handle, triosock.inherited_listeners())
