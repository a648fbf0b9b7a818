"""The portal: runs a sync function in a greenlet inside a trio task, which awaits on behalf of the function.

trio's run loop steps a task with `send()`, and gets messages that the task yields. Here the coroutine of the
task forwards both: each step switches into the greenlet, and each message comes back by a switch.

The invariants:

1. **Only its task resumes a greenlet.** So trio schedules it, cancels it, and sets its context;
   `Portal.wait()` must not be called anywhere else.
2. **Exceptions pass unchanged.** A wait raises what trio raises there, and an exception of the function
   leaves the task, both with complete tracebacks.
3. A greenlet that the function has started itself may wait too: the one that waits is resumed.

Rejected: greenback, which does this for any awaitable and two event loops. Every wait of every handler is
here, and greenback takes several times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar, TypeVarTuple, Unpack

from .greenlets import Greenlet, getcurrent, make_greenlet
from .watch import Watch

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Portal:
    """The connection between one task and the greenlet in it."""

    __slots__ = ("_hub", "_waiting", "_watch", "root")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        #: The greenlet of the function; None before and after it.
        self.root: Greenlet | None = None
        self._hub: Greenlet
        self._waiting: Greenlet

    @coroutine
    def run(self, fn: Callable[[*Ts], T], *args: Unpack[Ts]) -> Generator[object, object, T]:
        """Await this in the task: call `fn(*args)`, return its result or raise what it raises."""
        watch = self._watch
        self._hub = hub = getcurrent()
        self.root = self._waiting = root = make_greenlet(fn)
        # The task's own context and not a copy, so that awaited functions see the variables that `fn` sets.
        root.gr_context = hub.gr_context
        try:
            watch.enter(self)
            message = root.switch(*args)
            while not root.dead:
                watch.running = None
                try:
                    answer = yield message
                except BaseException as error:
                    # Only if the coroutine is closed or thrown into: trio sends exceptions as values.
                    watch.enter(self)
                    message = self._waiting.throw(error)
                else:
                    # `watch.enter()`, inlined, since it is called for each step of each handler.
                    watch.running = self
                    watch.steps += 1
                    if watch.is_asleep:
                        watch.wake()
                    message = self._waiting.switch(answer)
            result: T = message  # the result of the last switch
            return result
        finally:
            watch.running = None
            self.root = None
            del self._waiting, self._hub

    def yield_(self, message: object) -> Any:
        """Yield a message to trio's run loop; return its answer, an `Outcome`. In the greenlet."""
        self._waiting = getcurrent()
        return self._hub.switch(message)

    def wait(self, waited: Coroutine[object, object, T]) -> T:
        """Run a coroutine in the task; return its result. In the task's greenlet."""
        send, hub = waited.send, self._hub
        answer: object = None
        while True:
            try:
                message = send(answer)
            except StopIteration as result:
                value: T = result.value
                return value
            self._waiting = getcurrent()
            try:
                answer = hub.switch(message)
            except BaseException as error:
                # The coroutine or the greenlet is closed; the awaited function must end with it.
                answer = _Raised(error)


class _Raised:
    """An answer that raises in `unwrap()`, as `outcome.Error`."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def unwrap(self) -> None:
        """Raise it."""
        raise self._error
