"""Calls into the host's trio run, from other threads.

`TrioToken.run_sync_soon()` wakes the run through a pair of `socket.socket`, whose methods programs replace:
if `socket.socket.send` is a mock, the run is not woken, and the thread waits for ever. So these calls wake
the run with a `Wakeup`.

The invariants:

1. A call is made exactly once, in the order of arrival, or it is refused, and `soon()` returns which of the
   two. A call that was accepted before the end is still made.
2. A call is in the queue before the wakeup is signalled, and the wakeup is reset before the queue is emptied:
   a call that comes in between signals again.
3. The lock is reentrant, since a signal handler may make a call while it interrupts one of its own thread.
"""

from __future__ import annotations

import contextvars
import errno
import os
from collections import deque
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from threading import RLock as _Lock
from typing import TypeVar, TypeVarTuple, Unpack

import trio

from ..waiting.wakeup import Wakeup

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Calls:
    """The calls into one trio run, in which `pump()` makes them.

    Raises: OSError if no descriptor can be had.
    """

    def __init__(self) -> None:
        self._wakeup = Wakeup(None)
        if self._wakeup.fd < 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._queue: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._lock = _Lock()
        self._ends = False
        self._closed = False

    # From any thread

    def soon(self, function: Callable[[*Ts], object], *args: Unpack[Ts]) -> bool:
        """Have a sync function called in the trio thread; return False if the run is over. Never blocks."""
        with self._lock:
            if self._closed:
                return False
            self._queue.append((function, args))
        self._wakeup.signal()
        return True

    def run(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: Unpack[Ts]) -> T:
        """Run `async_fn(*args)` in a task of its own in the trio thread and return its result. Blocks.

        The task has a copy of the caller's context. It is cancelled only when the run ends. An exception that
        a signal handler raises in the waiting thread does not end it.

        Raises: what it raises; trio.RunFinishedError if the run is over; RuntimeError in a trio thread.
        """
        if trio.lowlevel.in_trio_run():
            raise RuntimeError("this is a blocking function; call it from a thread without a trio run")
        answer: SimpleQueue[tuple[T] | BaseException] = SimpleQueue()
        context = contextvars.copy_context()

        async def task() -> None:
            try:
                result = await async_fn(*args)
            except BaseException as error:
                # Cancelled included, at the end of the run: the calling thread must get some result.
                answer.put(error)
            else:
                answer.put((result,))

        def begin() -> None:
            trio.lowlevel.spawn_system_task(task, name=async_fn, context=context)

        if not self.soon(begin):
            raise trio.RunFinishedError("the trio run for compat servers is over")
        got = answer.get()
        if isinstance(got, tuple):
            return got[0]
        try:
            raise got
        finally:
            del got  # its traceback refers to this frame: a cycle

    # In the trio thread

    async def pump(self) -> None:
        """Make the calls until `end()` is one of them. After that, calls are refused."""
        try:
            while not self._ends:
                await trio.lowlevel.wait_readable(self._wakeup.fd)
                self._wakeup.reset()
                self._make()
        finally:
            with self._lock:
                self._closed = True
            try:
                self._make()
            finally:
                self._wakeup.close()

    def end(self) -> None:
        """Have `pump()` return after the calls that came before."""
        self._ends = True

    def _make(self) -> None:
        # Only those in the queue now: a caller that calls again and again must not starve the run.
        for _ in range(len(self._queue)):
            function, args = self._queue.popleft()
            function(*args)
