"""Handlers for trying out a server::

python -m triosock serve tcp://127.0.0.1:9999 --handler triosock.cli.handlers:echo
"""

from __future__ import annotations

import time

from .. import Connection

__all__ = ["daytime", "discard", "echo", "shout"]


async def echo(conn: Connection) -> None:
    """Send received data back (RFC 862). Drain: the connection ends at the next wait for data."""
    while data := await _receive_some(conn):
        await conn.send_all(data)


async def discard(conn: Connection) -> None:
    """Discard received data (RFC 863). Drain: the connection ends at the next wait for data."""
    while await _receive_some(conn):
        pass


async def daytime(conn: Connection) -> None:
    """Send the time of day, in UTC, and end the connection (RFC 867)."""
    await conn.send_all(time.strftime("%Y-%m-%d %H:%M:%S UTC\r\n", time.gmtime()).encode())


async def shout(conn: Connection) -> None:
    """Send each line back in capitals. Drain: the connection ends between two lines."""
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def _receive_some(conn: Connection) -> bytes:
    """Return the next data; b"" at the end of the stream, in a drain, and after the idle timeout."""
    data = b""
    with conn.idle():
        data = await conn.receive_some()
    return data
