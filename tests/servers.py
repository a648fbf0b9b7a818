"""A server of any kind for the length of a block, one that has a client, and a drain to its end."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio

from tests.waiting import PATIENCE, returns
from triosock import Connection, DrainReport
from triosock.testing import OpenServer, check_nothing_left, open_server


@contextlib.asynccontextmanager
async def running(serve: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
    """Start `serve(*args, **options)`, which is cancelled at the end; and look that nothing of it is left."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(functools.partial(serve, *args, **options))
        yield server
        nursery.cancel_scope.cancel()
    check_nothing_left(server)


@contextlib.asynccontextmanager
async def connected(handler: Any, **options: Any) -> AsyncIterator[tuple[OpenServer, Connection]]:
    """As `open_server`, and its first client."""
    async with open_server(handler, **options) as served:
        yield served, await served.connect()


async def drained(server: Any, **options: Any) -> DrainReport:
    """Drain a server, and return its report when it has ended."""
    server.drain(**options)
    return await server.wait_closed()


@contextlib.contextmanager
def serving_in_a_thread(server: Any, *interval: float) -> Iterator[threading.Thread]:
    """The `serve_forever()` of a server of socketserver, until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, args=interval, name="serving", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        has_ended = returns(server.shutdown)
        thread.join(PATIENCE)
    assert has_ended
    assert not thread.is_alive()
