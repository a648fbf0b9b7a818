"""Programs whose every step is known, in virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import triosock
from triosock.observe import Recorder
from triosock.testing import MemoryListener


async def quiet() -> None:
    await trio.sleep_forever()


async def fails() -> None:
    await trio.sleep(2)
    raise ValueError("the <b>last</b> straw")


async def family() -> None:
    """Task 1 has a nursery, and tasks 2 and 3 in it; 3 fails after two seconds, so that 2 is cancelled."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(quiet)
            await trio.sleep(1)  # so that it is known who comes first
            nursery.start_soon(fails)
    except* ValueError:
        pass


async def hurried() -> None:
    """A deadline around a wait, and a cancellation with a reason from a task beside."""
    with trio.move_on_after(3):
        await trio.Event().wait()

    async def wait_in(scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(60)

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(wait_in, scope)
        await trio.sleep(1)
        scope.cancel(reason="enough of it")


async def shout(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def shop() -> None:
    """A server with one client, and a drain."""
    door = MemoryListener("shop")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: triosock.serve_listeners(shout, [door], name="shop", task_status=task_status)
        )
        async with await door.connect() as client:
            await client.send_all(b"hello\n")
            assert await client.receive_some() == b"HELLO\n"
            await trio.sleep(1)
            server.drain(grace=5)
            assert await client.receive_some() == b""


async def cut_off() -> None:
    """A server that drains and cuts its one client off, and a task that the program cancels itself."""
    door = MemoryListener("shop")

    async def hang(conn: triosock.Connection) -> None:
        await conn.receive_some()
        await trio.sleep_forever()

    async def client(scope: trio.CancelScope) -> None:
        with scope:
            async with await door.connect() as conn:
                await conn.send_all(b"hello")
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: triosock.serve_listeners(hang, [door], task_status=task_status)
        )
        scope = trio.CancelScope()
        nursery.start_soon(client, scope)
        await trio.sleep(1)
        server.drain(grace=2)
        await server.wait_closed()
        scope.cancel(reason="the program has had enough")


def crowd(tasks, waits):
    """Return a program of so many tasks, each of which waits so often."""

    async def worker(number):
        for _ in range(waits):
            await trio.sleep(number / 100)

    async def main():
        async with trio.open_nursery() as nursery:
            for number in range(tasks):
                nursery.start_soon(worker, number)

    return main


def hostile(text):
    """Return a program whose task, error and server are all named like this."""

    async def bad():
        raise ValueError(text)

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bad, name=text)
            nursery.start_soon(lambda: triosock.serve_listeners(shout, [MemoryListener(text)], name=text))
            await trio.sleep(1)

    return main


def record_failing(program):
    """As `record`, of a program that ends with an exception group."""
    with Recorder() as recorder, pytest.raises(ExceptionGroup):
        trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
    return recorder


def record(program, **options):
    """Run a program under a recorder, in virtual time."""
    with Recorder(**options) as recorder:
        trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
    return recorder


def of(recorder, *kinds, task=None):
    return [one for one in recorder.steps() if one.kind in kinds and task in (None, one.task)]
