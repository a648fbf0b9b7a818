"""The step watch: reports code that runs for long without a wait. A counter goes up with each step; a thread
checks it.

    the loop's thread:   enter() ... wait      enter() ... wait         a count that goes up with each step
    watch thread:            look      look        look                 the same count, in the same step

The invariants:

1. **A step costs two assignments.** There is no clock, no lock and no system call in it, except to wake the
   watch thread when that sleeps.
2. **The watch thread sleeps when nothing happens.** It looks every `after / LOOKS` seconds as long as it
   finds steps, and waits for a step without a timeout when it finds none.
3. **It lives as long as it has users**: from the first `begin()` to the last `end()`, which returns when
   it has ended. It is a daemon, as the serving thread may be one.
4. A report is never wrong: the stack is taken between two equal readings of the counter.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Generic, TypeVar

#: The name of the thread.
THREAD_NAME = "triosock watch"
#: How many times the same step must be found, `after / LOOKS` seconds apart.
LOOKS = 4

_Thread, _Event, _Lock = threading.Thread, threading.Event, threading.Lock

Runner = TypeVar("Runner")


class StepWatch(Generic[Runner]):
    """Watches the thread that makes it. `begin()` and `end()` are called in any thread, `enter()` in that
    one, and `tell()`, which a subclass implements, in the watch thread.
    """

    __slots__ = (
        "_after",
        "_asked",
        "_ends",
        "_lock",
        "_stepping",
        "_thread",
        "is_asleep",
        "running",
        "steps",
    )

    def __init__(self) -> None:
        #: How many steps there were.
        self.steps: int = 0
        #: The task that runs now.
        self.running: Runner | None = None
        self.is_asleep: bool = False
        self._asked = _Event()
        self._ends = False
        self._after: list[float] = []
        self._lock = _Lock()
        self._stepping = threading.get_ident()
        self._thread: threading.Thread | None = None

    # In the thread that is watched, for each step

    def enter(self, runner: Runner) -> None:
        """A step of this one begins."""
        self.running = runner
        self.steps += 1
        if self.is_asleep:
            self.wake()

    def wake(self) -> None:
        """Have the thread look again."""
        self.is_asleep = False
        self._asked.set()

    # In any thread

    def begin(self, after: float) -> None:
        """Look until `end()` for who goes on for `after` seconds; the shortest that was asked for counts.

        Raises: RuntimeError if there can be no thread.
        """
        with self._lock:
            if self._thread is None:
                self._ends = False
                self._asked.clear()
                thread = _Thread(target=self._look, name=THREAD_NAME, daemon=True)
                self._after.append(after)
                try:
                    thread.start()
                except BaseException:
                    self._after.remove(after)
                    raise
                self._thread = thread
            else:
                self._after.append(after)

    def end(self, after: float) -> None:
        """Undo one `begin()`; the last one ends the thread and waits for that."""
        with self._lock:
            self._after.remove(after)
            if self._after or self._thread is None:
                return
            thread, self._thread = self._thread, None
            self._ends = True
            self._asked.set()
            thread.join()

    # In the watch thread

    def _look(self) -> None:
        seen, times = -1, 0
        while not self._ends:
            steps, running = self.steps, self.running
            if steps != seen:
                seen, times = steps, 0
            elif running is None:
                self._sleep(seen)
                continue
            else:
                times += 1
                if times == LOOKS:
                    self._look_closely(running, seen)
            self._asked.wait(min(self._after, default=1.0) / LOOKS)

    def _sleep(self, seen: int) -> None:
        self._asked.clear()
        # Said before the count is read: a step that begins now sees it, or is seen.
        self.is_asleep = True
        if self.steps == seen and not self._ends:
            self._asked.wait()
        self.is_asleep = False
        if not self._ends:
            self._asked.clear()

    def _look_closely(self, running: Runner, seen: int) -> None:
        frame = sys._current_frames().get(self._stepping)
        if frame is not None:
            self.tell(running, frame, min(self._after, default=0.0), lambda: self.steps == seen)

    def tell(self, running: Runner, frame: FrameType, after: float, is_certain: Callable[[], bool]) -> None:
        """Report that `running` has run for `after` seconds, and is at `frame`. What was read from the frame
        is valid if `is_certain()` afterwards: else the task waits now, and the frame may be another's.
        """
        raise NotImplementedError
