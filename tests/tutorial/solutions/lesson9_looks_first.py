async def sell(conn, office):
    async for name in conn.lines():
        if office.left:
            await office.note(name)
            office.left -= 1
            await conn.send_all(b"sold\n")
        else:
            await conn.send_all(b"sold out\n")
