"""The portal: a sync function in a greenlet inside a trio task, which awaits what the function waits for.

trio's run loop steps a task with `send()`, and takes what the task yields as a message. Here the coroutine of
the task forwards both: each step switches into the greenlet, and each message comes back by a switch.

The invariants:

1. **A greenlet is resumed by its task, and by nothing else.** So trio schedules it, cancels it, and gives it
   its context; and `Portal.wait()` is an error anywhere else.
2. **Exceptions pass unchanged.** A wait raises what trio raises there, and what the function raises leaves
   the task, both with complete tracebacks.
3. A greenlet that the function has started itself may wait too: it is the one that is resumed.

greenback does this for any awaitable and for two event loops. This is a version for trio only, since every
wait of every handler passes through: greenback takes several times as long.
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
    """Between one task and the greenlet in it."""

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
        # The task's own context, and not a copy: what the function sets there is seen by what it awaits.
        root.gr_context = hub.gr_context
        try:
            watch.enter(self)
            message = root.switch(*args)
            while not root.dead:
                watch.running = None
                try:
                    answer = yield message
                except BaseException as error:
                    # Only when the run loop gives the task up; trio sends what it raises as an answer.
                    watch.enter(self)
                    message = self._waiting.throw(error)
                else:
                    # This is `watch.enter()`, for each step of each handler.
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
        """Give trio's run loop a message; return its answer, which is to be unwrapped. In the greenlet."""
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
                # The task is given up, or the greenlet; what is awaited ends with it.
                answer = _Raised(error)


class _Raised:
    """An answer that raises, as trio's do."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def unwrap(self) -> None:
        """Raise it."""
        raise self._error
