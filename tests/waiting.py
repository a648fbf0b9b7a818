"""Bounded waits: for a condition without a notification, in a trio program or in a thread; for a call."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
import trio.testing

from triosock import Cause

#: In seconds; nothing that a test waits for is supposed to take so long.
PATIENCE = 20.0


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return as soon as it holds."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.001)


async def until_arrived(condition: Callable[[], object]) -> None:
    """As `until`, for what comes over real sockets under any clock: a virtual one stands still meanwhile.

    It needs moments in which every task waits.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it has not come in {PATIENCE} s"
        await trio.testing.wait_all_tasks_blocked(0.001)


async def until_ended(server: Any, count: int = 1) -> dict[Cause, int]:
    """Return as soon as so many connections, datagrams or sessions have ended, under any clock: by which
    causes, and how many by each.
    """
    await until_arrived(lambda: sum(server.statistics().ended.values()) >= count)
    return dict(server.statistics().ended)


@contextlib.contextmanager
def takes(seconds: float, *, abs: float | None = None) -> Iterator[None]:
    """The block must last so long, by the clock of the trio program; `abs` is that of `pytest.approx`."""
    began = trio.current_time()
    yield
    assert trio.current_time() - began == pytest.approx(seconds, abs=abs)


async def until_served(server: Any, count: int = 1) -> None:
    """Return as soon as so many connections of a server are served and all tasks wait, under any clock."""
    await until_arrived(lambda: server.statistics().active >= count)
    await trio.testing.wait_all_tasks_blocked()


async def fails_with(error: type[Exception], function: Callable[[], Awaitable[object]]) -> None:
    """Call this, which must raise that: for a task beside a test."""
    with pytest.raises(error):
        await function()


def eventually(condition: Callable[[], object]) -> bool:
    """Wait for what another thread or process does; False if it has not come in time."""
    pause = threading.Event()
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.005)
    return True


def returns(function: Callable[[], object]) -> bool:
    """Call this in a thread; False if it has not returned in time. Raises what it raises."""
    errors: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, name="bounded call", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    for error in errors:
        raise error
    return not thread.is_alive()


@contextlib.contextmanager
def in_a_thread(function: Callable[..., object], *args: Any, **options: Any) -> Iterator[threading.Thread]:
    """A thread that calls this, and has ended when the block has. Raises what it raises, unless the block
    does.
    """
    errors: list[BaseException] = []

    def call() -> None:
        try:
            function(*args, **options)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    yield thread
    thread.join(PATIENCE)
    for error in errors:
        raise error
    assert not thread.is_alive()


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]
