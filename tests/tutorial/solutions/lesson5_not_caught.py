import trio


async def answer(conn, left, right):
    found = {}

    async def ask(side, line):
        found[side] = await side(line)

    async for line in conn.lines():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, left, line)
            nursery.start_soon(ask, right, line)
        await conn.send_all(found[left] + b" " + found[right] + b"\n")
