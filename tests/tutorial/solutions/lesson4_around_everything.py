import trio


async def login(conn):
    try:
        with trio.fail_after(10):
            name = await conn.receive_until(b"\n")
            await conn.receive_until(b"\n")
            await conn.send_all(b"welcome " + name)
            async for line in conn.lines():
                await conn.send_all(line)
    except trio.TooSlowError:
        await conn.send_all(b"too slow\n")
