"""A server for the length of a block: every kind that a `serve_*` function starts."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import trio

from triosock.testing import check_nothing_left


@contextlib.asynccontextmanager
async def running(serve: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
    """Start `serve(*args, **options)`, which is cancelled at the end; and look that nothing of it is left."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(functools.partial(serve, *args, **options))
        yield server
        nursery.cancel_scope.cancel()
    check_nothing_left(server)
