"""What a peer can make a server hold: each unfinished message once, and not much more."""

from __future__ import annotations

import gc
import socket
import tracemalloc
from typing import Any

import pytest
import trio
import trio.testing

from triosock import Connection, LengthPrefixed

#: Enough for the memory of one connection to stand out from what else goes on.
PEERS = 20
#: As much as an unfinished message may have: `DEFAULT_MAX_BYTES`, without its end.
SIZE = 65_535


async def lines(conn: Connection) -> None:
    async for _ in conn.lines():
        pass


async def frames(conn: Connection) -> None:
    async for _ in conn.frames(LengthPrefixed(4)):
        pass


async def until(conn: Connection) -> None:
    await conn.receive_until(b"\n")


@pytest.mark.parametrize(
    ("handler", "beginning"), [(lines, b""), (until, b""), (frames, SIZE.to_bytes(4, "big"))]
)
async def test_an_unfinished_message_is_held_once(handler: Any, beginning: bytes, serving: Any) -> None:
    async with serving(handler) as server:
        clients = [socket.create_connection(server.addresses[0].sockaddr) for _ in range(PEERS)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        gc.collect()
        tracemalloc.start()
        try:
            for client in clients:
                client.sendall((beginning + b"x" * SIZE)[:SIZE])
            while server.statistics().received < PEERS * SIZE:
                await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked(0.01)
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # A bytearray grows by an eighth at a time; 4 KiB for everything else of a connection.
        assert SIZE <= held / PEERS < SIZE * 1.13 + 4096
        for client in clients:
            client.close()
