async def sell(conn, office):
    async for name in conn.lines():
        if office.left:
            office.left -= 1
            await conn.send_all(b"sold\n")
            await office.note(name)
        else:
            await conn.send_all(b"sold out\n")
