import trio


async def answer(conn, left, right):
    async for line in conn.lines():
        found = {}

        async def ask(side, line=line, found=found):
            found[side] = await side(line)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, left)
                nursery.start_soon(ask, right)
        except Exception:
            await conn.send_all(b"error\n")
        else:
            await conn.send_all(found[left] + b" " + found[right] + b"\n")
