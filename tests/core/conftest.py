"""Fixtures shared by tests of the core."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import connected


@pytest.fixture
def stdlib_socket() -> Iterator[socket.socket]:
    """One that listens on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a Unix socket may be."""
    return tmp_path / "socket"


@pytest.fixture(params=["tcp", "memory"])
def linked(request: pytest.FixtureRequest, serving: Any, dial: Any) -> Any:
    """`async with linked(handler, **options) as (server, client):` over TCP, and in memory."""

    @contextlib.asynccontextmanager
    async def link(handler: Any, **options: Any) -> AsyncIterator[Any]:
        if request.param == "memory":
            async with connected(handler, **options) as (served, client):
                yield served.server, client
        else:
            async with serving(handler, **options) as server, await dial(server) as client:
                yield server, client

    return link
