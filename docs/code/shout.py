"""The handler of the how-to guides."""

import triosock


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())


if __name__ == "__main__":
    triosock.run(triosock.serve_tcp, shout, 9999, host="127.0.0.1")
