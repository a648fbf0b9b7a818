import trio


async def login(conn):
    with trio.move_on_after(10) as time_limit:
        name = await conn.receive_until(b"\n")
        await conn.receive_until(b"\n")
    if time_limit.cancelled_caught:
        await conn.send_all(b"too slow\n")
        return
    await conn.send_all(b"welcome " + name)
    async for line in conn.lines():
        await conn.send_all(line)
