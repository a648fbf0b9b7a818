"""Tell a client that pools connections that this answer is the last one on this connection."""


async def answer(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())
        if conn.draining:
            await conn.send_all(b"* closing, go elsewhere\n")
            return
