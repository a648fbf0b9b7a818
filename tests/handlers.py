"""The handler and the reader that many tests use."""

from __future__ import annotations

import trio

import triosock


async def shout(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    while data := await stream.receive_some():
        received += data
    return received
