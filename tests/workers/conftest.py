"""A service of worker processes, with clients, and a check that nothing is left."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import triosock
from tests import waiting

HERE = "tests.workers.programs_for_workers"
ROOT = Path(__file__).parents[2]
#: How long a test waits for anything; nothing is supposed to take so long.
PATIENCE = 60.0


@contextlib.asynccontextmanager
async def service(
    program: Any = f"{HERE}:shout",
    endpoints: Any = ("tcp://127.0.0.1:0",),
    *,
    workers: int = 2,
    **options: Any,
) -> AsyncIterator[triosock.Workers]:
    """Workers that are ready; drained at the end of the block, or cancelled with it."""
    async with trio.open_nursery() as nursery:
        serve = partial(triosock.serve_workers, program, endpoints, workers=workers, **options)
        with trio.fail_after(PATIENCE):
            running = await nursery.start(serve)
        yield running
        running.drain()
        with trio.fail_after(PATIENCE):
            await running.wait_closed()


@contextlib.asynccontextmanager
async def controlled(folder: Path, *program: str, **options: Any) -> AsyncIterator[tuple[Any, Path]]:
    """As `service`, with a control socket that is there; and its path."""
    path = folder / "control"
    async with service(*program, control=path, **options) as workers:
        await until(path.exists)
        yield workers, path


def dial(workers: triosock.Workers) -> triosock.Connection:
    """A client of the first endpoint."""
    address = workers.addresses[0]
    sock = socket.socket(socket.AF_INET)
    sock.connect((address.host, address.port))
    sock.setblocking(False)
    return triosock.Connection(sock)


async def ask(conn: triosock.Connection, line: str) -> str:
    await conn.send_all(line.encode() + b"\n")
    with trio.fail_after(PATIENCE):
        return (await conn.receive_until(b"\n")).decode().rstrip("\n")


async def occupy(workers: triosock.Workers, work: str) -> triosock.Connection:
    """A client whose worker has begun this work: to "wait" until it is told to go on, or to "block"."""
    client = dial(workers)
    assert await ask(client, work) == "begun"
    return client


def processes(workers: triosock.Workers) -> list[int]:
    return [one.process for one in workers.statistics()]


async def until(condition: Callable[[], object]) -> None:
    """As `tests.waiting.until`, and as patient as workers need it."""
    await waiting.until(condition, PATIENCE)


def children() -> set[int]:
    """The children of this process, zombies too."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == os.getpid():
                    found.add(int(name))
    return found


def open_descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


@pytest.fixture(autouse=True)
def workers_have_time_to_answer(monkeypatch):
    """A worker that a busy machine delays is not taken for one that is stuck."""
    monkeypatch.setattr("triosock.workers.control_client._TIMEOUT", PATIENCE)


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch):
    """No child and no descriptor outlives a test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    before, descriptors = children(), open_descriptors()
    yield
    assert children() <= before
    assert set(open_descriptors()) <= set(descriptors)
