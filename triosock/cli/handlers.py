"""Handlers to try a server with::

python -m triosock serve tcp://127.0.0.1:9999 --handler triosock.cli.handlers:echo
"""

from __future__ import annotations

import time

from .. import Connection

__all__ = ["daytime", "discard", "echo", "shout"]


async def echo(conn: Connection) -> None:
    """Send back what comes, as it comes (RFC 862). Drain: ends the connection when nothing is on its way."""
    while data := await _receive_some(conn):
        await conn.send_all(data)


async def discard(conn: Connection) -> None:
    """Take everything, answer nothing (RFC 863). Drain: ends the connection when nothing is on its way."""
    while await _receive_some(conn):
        pass


async def daytime(conn: Connection) -> None:
    """Tell the time of day, in UTC, and end the connection (RFC 867)."""
    await conn.send_all(time.strftime("%Y-%m-%d %H:%M:%S UTC\r\n", time.gmtime()).encode())


async def shout(conn: Connection) -> None:
    """Send each line back in capitals. Drain: ends the connection between two lines."""
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def _receive_some(conn: Connection) -> bytes:
    """Return what comes next; b"" at the end, and when a drain or the idle timeout ended the wait."""
    data = b""
    with conn.idle():
        data = await conn.receive_some()
    return data
