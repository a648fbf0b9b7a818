"""The fixtures of the pytest plugin. Imported only where pytest-trio is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Unpack

import pytest
import trio
from pytest_trio import trio_fixture  # type: ignore[import-untyped]

from .._core.stream.by_protocol import Handlers
from .._core.stream.options import ServeOptions
from .memory_listener import MemoryListener
from .open_server import OpenServer
from .open_server import open_server as _open_server
from .recorder import Recorder


@trio_fixture  # type: ignore[untyped-decorator]
async def open_server() -> AsyncIterator[Callable[..., Awaitable[OpenServer]]]:
    """`served = await open_server(handler, **options)`: as `triosock.testing.open_server`, for the rest of
    the test.
    """
    over = trio.Event()

    async def serve(
        handler: Handlers,
        options: ServeOptions,
        task_status: trio.TaskStatus[OpenServer] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        # In a task of its own: the block must not be entered in the test's task and left in the fixture's.
        async with _open_server(handler, **options) as served:
            task_status.started(served)
            await over.wait()

    async def start(handler: Handlers, **options: Unpack[ServeOptions]) -> OpenServer:
        served: OpenServer = await nursery.start(serve, handler, options)
        return served

    async with trio.open_nursery() as nursery:
        yield start
        over.set()


@pytest.fixture
def memory_network() -> Iterator[Callable[..., MemoryListener]]:
    """`listener = memory_network("name", **options)`: a new `triosock.testing.MemoryListener`, closed at the
    end of the test.
    """
    listeners: list[MemoryListener] = []

    def listen(name: str = "memory", **options: int) -> MemoryListener:
        listeners.append(MemoryListener(name, **options))
        return listeners[-1]

    yield listen
    for listener in listeners:
        listener.close()


@pytest.fixture
def recorder() -> Recorder:
    """A `triosock.testing.Recorder` of all events, to be given to `serve_*(observers=[recorder])`."""
    return Recorder()
