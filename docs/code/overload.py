"""A server that refuses new work when it is late, with an answer."""

from triosock import AdaptiveLimit, Limits


async def busy(conn):
    await conn.send_all(b"busy, try again\n")


#: Refuse who comes while the loop is more than 0.2 s late.
late = Limits(max_lag=0.2, overflow=busy)

#: Find out how many at once are good for the server.
found = Limits(adaptive=AdaptiveLimit(), overflow=busy)


async def answer(conn):
    """Refuse requests on connections that are open already, too."""
    async for line in conn.lines():
        await conn.send_all(b"busy\n" if conn.server.shedding else line.upper())
