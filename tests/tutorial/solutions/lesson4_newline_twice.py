import triosock


async def login(conn):
    try:
        async with conn.request(timeout=10):
            name = await conn.receive_until(b"\n")
            await conn.receive_until(b"\n")
    except triosock.RequestTimedOut:
        await conn.send_all(b"too slow\n")
        return
    await conn.send_all(b"welcome " + name + b"\n")
    async for line in conn.lines():
        await conn.send_all(line)
