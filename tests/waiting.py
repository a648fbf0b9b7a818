"""Bounded waits: for a condition without a notification, in a trio program or in a thread; for a call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import trio

#: In seconds; nothing that a test waits for is supposed to take so long.
PATIENCE = 20.0


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return as soon as it holds."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.001)


async def until_ended(server: Any, count: int = 1) -> None:
    """Return as soon as so many connections, datagrams or sessions of a server have ended."""
    await until(lambda: sum(server.statistics().ended.values()) >= count)


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
