"""The handler and the reader that many tests use."""

from __future__ import annotations

import trio

import triosock


async def shout(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def read_to_reset(stream: trio.abc.ReceiveStream) -> bytes:
    """Return what comes before a reset; an AssertionError if the stream just ends."""
    received = b""
    try:
        while data := await stream.receive_some():
            received += data
    except trio.BrokenResourceError:
        return received
    raise AssertionError(f"no reset after {received!r}")


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    while data := await stream.receive_some():
        received += data
    return received
