"""Answer after a failure of the handler: one function for all connections of a server."""

import triosock


async def apologize(error, conn):
    match error:
        case triosock.FrameTooLarge():
            await conn.send_all(b"413 your line is too long\n")
        case triosock.RequestTimedOut():
            await conn.send_all(b"408 that took too long\n")
        case triosock.PeerError():
            await conn.send_all(b"400 what was that?\n")
        case _:
            await conn.send_all(b"500 sorry\n")
