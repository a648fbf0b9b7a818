"""The task of a green request, and how sync code in it waits.

Rules of this file:

1. `wait()` works in the greenlet of a green request, and nowhere else: in any other thread or task it is an
   error that says so, and never a blocked event loop.
2. A cancellation is delivered at a wait, as `trio.Cancelled`. A handler that catches it and goes on is named
   on standard error, as nothing else can be done about it.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import attrs
import greenback
import greenlet  # type: ignore[import-untyped]
import trio
from trio.lowlevel import current_task, in_trio_run, spawn_system_task
from trio.lowlevel import wait_readable as wait_readable
from trio.lowlevel import wait_writable as wait_writable

T = TypeVar("T")

#: The tasks of this process that handle a green request; changed in trio threads only.
_tasks: dict[trio.lowlevel.Task, GreenTask] = {}
#: Below zero, as identifiers of threads are above: a book has both as keys.
_numbers = itertools.count(-1, -1)


@attrs.define(eq=False, slots=True)
class GreenTask:
    """A green request's task. `number` stands for it where a thread's identifier stands for a thread."""

    daemon: bool
    number: int = attrs.field(factory=_numbers.__next__)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    #: Whether a wait of the handler has raised Cancelled.
    was_told: bool = False
    _greenlet: Any = None

    def enter(self) -> None:
        """Note that the calling greenlet handles the request."""
        self._greenlet = greenlet.getcurrent()
        _tasks[current_task()] = self

    def leave(self) -> None:
        """Undo `enter()`, in the same task."""
        self._greenlet = None
        del _tasks[current_task()]

    def is_alive(self) -> bool:
        """Whether its handler runs: it stands among the threads of a server."""
        return self._greenlet is not None

    def stack(self) -> tuple[str, ...]:
        """Return where the handler waits: one line a call ("file:line in function"), the outermost first."""
        frame = None if self._greenlet is None else self._greenlet.gr_frame
        if frame is None:
            return ()
        found = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
        return tuple(f"{one.filename}:{one.lineno} in {one.name}" for one in reversed(found))


def spawn(async_fn: Callable[..., Awaitable[object]], *args: Any, name: str) -> None:
    """Start a task that no nursery of a user holds. In the trio thread."""
    spawn_system_task(async_fn, *args, name=name)


def current() -> GreenTask | None:
    """Return the green request that the calling code handles, or None in any other thread or task."""
    return _tasks.get(current_task()) if _tasks and in_trio_run() else None


def wait(async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run `async_fn(*args)` in the task of the calling green handler and return its result.

    Raises: what it raises; `trio.Cancelled` when the request is cut; RuntimeError outside of a green handler.
    """
    task = current()
    if task is None:
        raise RuntimeError(
            "a green request can only wait in the task that handles it, and this is another thread or task: "
            "hand the data over, or give the socket away as a plain one, "
            "socket.socket(fileno=request.detach())"
        )
    try:
        return greenback.await_(async_fn(*args))
    except trio.Cancelled:
        task.was_told = True
        raise


def sleep(seconds: float) -> None:
    """Sleep in a green handler, while others run. A checkpoint.

    Raises: ValueError for less than 0; RuntimeError outside of a green handler.
    """
    wait(trio.sleep, seconds)


def blocking(fn: Callable[..., T], *args: Any) -> T:
    """Run `fn(*args)`, which blocks, in a worker thread of trio, while other green handlers run.

    A cut waits until it has returned, as a thread cannot be ended. Raises: what `fn` raises; RuntimeError
    outside of a green handler.
    """
    return cast("T", wait(trio.to_thread.run_sync, fn, *args))
