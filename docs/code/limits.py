"""Limits and timeouts, and an answer for connections beyond them."""

import triosock


async def say_busy(conn):
    await conn.send_all(b"busy, come back later\n")


OPTIONS = {
    "limits": triosock.Limits(
        max_connections=1000,
        max_connections_per_peer=20,
        max_connections_per_network=200,
        overflow=say_busy,
    ),
    "timeouts": triosock.Timeouts(idle=300, request=30, send=20, grace=10),
}
