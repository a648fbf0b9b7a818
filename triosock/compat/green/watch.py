"""Who blocks the event loop: a handler that goes on for a while without a wait is named, with its stack.

    trio thread:   enter() ... wait      enter() ... wait         a count that goes up with each step
    watch thread:      look      look        look                 the same count, in the same step: it blocks

The invariants:

1. **A step pays for two assignments.** There is no clock, no lock and no system call in it, but to wake the
   watch thread when that has gone to sleep.
2. **The watch thread sleeps when nothing happens.** It looks every `after / LOOKS` seconds as long as it
   finds steps, and waits for a step without a timeout when it finds none.
3. **It lives as long as somebody serves**: from the first `begin()` to the last `end()`, which returns when
   it has ended. It is a daemon, as whoever serves may be one.
4. Only what is certain is told: the stack is taken between two looks at the count that agree.
"""

from __future__ import annotations

import sys
import threading
import traceback
from types import CodeType, FrameType

#: What the thread is called.
THREAD_NAME = "triosock watch"
#: How many times the same step must be found, `after / LOOKS` seconds apart.
LOOKS = 4
#: Places that are remembered, and so told once; a handler that blocks everywhere need not be told on.
PLACES = 100

_Thread, _Event, _Lock = threading.Thread, threading.Event, threading.Lock
_told: set[tuple[str, int]] = set()


class Watch:
    """Of one trio run. `begin()` and `end()` are called in any thread, the rest in its own."""

    __slots__ = ("_after", "_asked", "_ends", "_lock", "_thread", "_trio", "is_asleep", "running", "steps")

    def __init__(self) -> None:
        #: How many times a greenlet was resumed.
        self.steps: int = 0
        #: The portal whose greenlet runs now.
        self.running: object | None = None
        self.is_asleep: bool = False
        self._asked = _Event()
        self._ends = False
        self._after: list[float] = []
        self._lock = _Lock()
        self._trio = threading.get_ident()
        self._thread: threading.Thread | None = None

    # In the trio thread, for each step

    def enter(self, portal: object) -> None:
        """A greenlet is about to be resumed."""
        self.running = portal
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
                    self._tell(running, seen)
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

    def _tell(self, running: object, seen: int) -> None:
        frame = sys._current_frames().get(self._trio)
        if frame is None:
            return
        stack = _handlers_part(frame)
        lines = traceback.StackSummary.extract(((one, one.f_lineno) for one in stack), lookup_lines=False)
        if self.steps != seen or not lines:
            return  # it waits now, and what was seen may be somebody else's
        place = (lines[-1].filename, lines[-1].lineno or 0)
        if place in _told or len(_told) >= PLACES:
            return
        _told.add(place)
        said = _BLOCKS.format(min(self._after, default=0.0))
        print(said, *lines.format(), sep="\n", file=sys.stderr, end="")


_BLOCKS = (
    "triosock.compat: a green handler has run for {:g} seconds without a wait, and no other handler can run "
    "meanwhile. Call what blocks through compat.blocking(fn, *args), and compat.sleep(seconds) instead of "
    "time.sleep(seconds). This is where it is, most recent call last; it is told once for each place:"
)

#: Where greenlets begin: the frames up to there are not the handler's. See `tasks.py`.
ROOTS: set[CodeType] = set()


def _handlers_part(frame: FrameType | None) -> list[FrameType]:
    """Return the frames of a running greenlet, the outermost first, without those of the run loop."""
    found: list[FrameType] = []
    while frame is not None and frame.f_code not in ROOTS:
        found.append(frame)
        frame = frame.f_back
    return found[::-1]
