"""The signals that end a program: the first is passed to the event loop, the second works even if the
loop is blocked.

Python runs a signal's handler in the main thread, between two steps of whatever runs there, so also in the
middle of a trio task that blocks the loop. The invariants:

1. **The first signal changes nothing by itself**: it is passed to the loop, which then drains.
2. **The second one ends the program at once.** It is passed to the loop, which cancels everything. If the
   loop has not taken it `PATIENCE` seconds later, a task blocks the loop, and gets a KeyboardInterrupt, as
   under `trio.run`. That is raised in the code of a task and never in trio's own.
3. **The third one ends the process by the system's default action.** The program
   has been cancelled, and something in it does not end: a thread that a task waits for, a shielded wait, a
   block that catches everything.
4. **Signals that come together count as one.** A Ctrl-C at a terminal reaches the whole process group, and a
   wrapper that passes it on sends a second one, a moment later.
5. **A signal's handler waits for no lock**: the code that it interrupts may hold any. So the alarm is made of
   `_thread`; `threading.Thread.start` waits for the new thread, which waits for a lock of the module.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, final

import trio

SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT") if hasattr(signal, name))
#: A signal within so many seconds of one that counted is a copy of it, and is ignored.
TOGETHER: Final = 0.1
#: How long a loop that runs may take to notice a signal, in seconds: a turn of a busy one is shorter.
PATIENCE: Final = 0.1


@final
class EndingSignals:
    """Catches the signals for the length of a block, in the main thread of a trio program.

    Args: `on_first` and `on_second`, synchronous functions of the signal's number, called in the loop.
    """

    def __init__(self, on_first: Callable[[int], object], on_second: Callable[[int], object]) -> None:
        self._on_first = on_first
        self._on_second = on_second
        self._token = trio.lowlevel.current_trio_token()
        self._before: dict[int, Any] = {}
        #: When the last signal that counted came.
        self._counted_at: float | None = None
        self._alarm: _Alarm | None = None
        #: The loop did not take the second signal in time, and the alarm is about to send another.
        self._is_insisting = False
        #: The loop has taken the second signal.
        self._is_taken = False
        #: The number of the second signal, once there was one.
        self.killed_by: int | None = None

    def __enter__(self) -> EndingSignals:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_taken = True
        if self._alarm is not None:
            # Before the handlers are restored: its signal must not reach another one.
            self._alarm.cancel()
            self._alarm.join()
        for number, before in self._before.items():
            signal.signal(number, before)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self._is_insisting:
            self._is_insisting = False
            if not self._is_taken:
                self._break_in(number)
            return
        now = time.monotonic()
        if self._counted_at is not None and now - self._counted_at < TOGETHER:
            return
        is_first, self._counted_at = self._counted_at is None, now
        if is_first:
            self._token.run_sync_soon(self._on_first, number)
        elif self.killed_by is None:
            self._tell_second(number)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _tell_second(self, number: int) -> None:
        self.killed_by = number
        self._token.run_sync_soon(self._take_second, number)
        with contextlib.suppress(RuntimeError):  # no thread can start: the third signal still works
            self._alarm = _Alarm(lambda: self._insist(number))

    def _take_second(self, number: int) -> None:
        self._is_taken = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._on_second(number)

    def _insist(self, number: int) -> None:
        """In the alarm's thread: the loop is blocked."""
        self._is_insisting = True
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, number)

    def _break_in(self, number: int) -> None:
        self._before, before = {}, self._before
        for one in before:
            # The system's default action: code that catches the exception does not survive the next one.
            signal.signal(one, signal.SIG_DFL)
        if trio.lowlevel.currently_ki_protected():
            os.kill(os.getpid(), number)
        raise KeyboardInterrupt


@final
class _Alarm:
    """Calls a function in its own thread `PATIENCE` seconds later, unless it is cancelled."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._sleeping = _thread.allocate_lock()
        self._sleeping.acquire()
        self._running = _thread.allocate_lock()
        self._running.acquire()
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            if not self._sleeping.acquire(timeout=PATIENCE):
                self._ring()
        finally:
            self._running.release()

    def cancel(self) -> None:
        """Cancel the call, unless it has begun. From one thread only."""
        if self._sleeping.locked():
            self._sleeping.release()

    def join(self) -> None:
        """Wait until its thread is done."""
        self._running.acquire()
