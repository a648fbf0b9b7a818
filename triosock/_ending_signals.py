"""The signals that end a program: the first is told to the event loop, the second gets through even if the
loop is blocked.

Python runs a signal's handler in the main thread, between two steps of whatever runs there, so also in the
middle of a trio task that blocks the loop. The invariants:

1. **The first signal changes nothing by itself**: it is told to the loop, which drains when it gets to it.
2. **The second one ends the program at once.** It is told to the loop; and if the loop has not taken it
   `PATIENCE` seconds later, somebody blocks it, and gets a KeyboardInterrupt, as from `trio.run`. That is
   raised in the code of a task and never in trio's own.
3. **A third one ends the process without another question**, as the system does by default, if the loop is
   still blocked: the program catches what it should let pass.
4. **What comes together is one signal.** A Ctrl-C at a terminal reaches the whole process group, and a
   wrapper that passes it on makes two of it, a moment apart.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, final

import trio

SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT") if hasattr(signal, name))
#: Signals that come within so many seconds of the first are the same one, told twice.
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
        self._first_at: float | None = None
        self._alarm: threading.Timer | None = None
        #: The loop did not take the second signal in time.
        self._is_blocked = False
        #: The number of the second signal, once there was one.
        self.killed_by: int | None = None

    def __enter__(self) -> EndingSignals:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm.join()

    def _catch(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
            self._token.run_sync_soon(self._on_first, number)
        elif self.killed_by is None:
            if now - self._first_at >= TOGETHER:
                self.killed_by = number
                self._token.run_sync_soon(self._take_second, number)
                self._alarm = threading.Timer(PATIENCE, self._insist, [number])
                self._alarm.daemon = True
                self._alarm.start()
        elif self._is_blocked:
            self._break_in(number)

    def _take_second(self, number: int) -> None:
        assert self._alarm is not None
        self._alarm.cancel()
        self._on_second(number)

    def _insist(self, number: int) -> None:
        """In the alarm's thread: the loop is blocked."""
        self._is_blocked = True
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, number)

    def _break_in(self, number: int) -> None:
        self._before, before = {}, self._before
        for one in before:
            # From now on as the system does it: whoever survives the exception does not survive the next.
            signal.signal(one, signal.SIG_DFL)
        if trio.lowlevel.currently_ki_protected():
            os.kill(os.getpid(), number)
        raise KeyboardInterrupt
