"""The fixtures of the pytest plugin. Imported only where pytest-trio is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar, Unpack

import pytest
import pytest_trio  # type: ignore[import-untyped]
import trio

from .._core.stream.by_protocol import Handlers
from .._core.stream.options import ServeOptions
from .memory_listener import MemoryListener
from .open_server import OpenServer
from .open_server import open_server as _open_server
from .recorder import Recorder

F = TypeVar("F", bound=Callable[..., object])


def _trio_fixture(function: F) -> F:
    """`pytest_trio.trio_fixture`, with a type."""
    fixture: F = pytest_trio.trio_fixture(function)
    return fixture


@_trio_fixture
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
        # In a separate task: the block must be entered and left in the same one.
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
