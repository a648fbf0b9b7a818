"""Who reads events as they happen, at a control socket."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio

import triosock
from tests.waiting import PATIENCE


@contextlib.asynccontextmanager
async def reading(path: Path, **request: Any) -> AsyncIterator[triosock.Connection]:
    """A connection that is asked for events; and it is attached."""
    async with triosock.Connection(await trio.open_unix_socket(path)) as conn:
        await conn.send_all(json.dumps({"want": "events", **request}).encode() + b"\n")
        (first,) = await read(conn, 1)
        assert first["event"] == "EventsFollow"
        yield conn


async def read(conn: triosock.Connection, count: int, seconds: float = PATIENCE) -> list[dict[str, Any]]:
    """Return the next events, so many."""
    lines = conn.lines(max_bytes=100_000)
    with trio.fail_after(seconds):
        return [json.loads(await anext(lines)) for _ in range(count)]
