async def sell(conn, office):
    async for name in conn.lines():
        if office.left:
            office.left -= 1
            await office.note(name)
            await conn.send_all(b"sold\n")
        else:
            await conn.send_all(b"sorry\n")
