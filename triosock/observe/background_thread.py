"""A background thread for work that may block: writing lines, ending spans.

The invariant: **`put()` never waits.** The queue is bounded; work is dropped and counted when the queue is
full, and only the thread waits for a full disk, a pipe without a reader, or an exporter that hangs.

The thread lives as long as its `async with` block. A thread cannot be ended from outside: one that still
hangs after `grace` seconds is left behind, as a daemon, and a log line says so.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVarTuple, Unpack, final

import trio

from .._core.model.checks import check_seconds

Ts = TypeVarTuple("Ts")

if TYPE_CHECKING:
    from typing import Self

#: For how many seconds work gathers before the thread does all of it. A thread that is woken for each line
#: takes the GIL from the loop for each line, which was most of the cost of an access log.
GATHER: Final = 0.02
#: The maximum of queued pieces of work: as many as spans in OpenTelemetry's batches
#: (OTEL_BSP_MAX_QUEUE_SIZE).
MAX_PENDING: Final = 2048

_logger: Final = logging.getLogger("triosock")


@final
class BackgroundThread:
    """One thread with the name `name`, which calls queued functions in order: `async with
    BackgroundThread("…") as thread:`.

    Args: `grace`, the seconds (from 0 on) for which the end of the block waits for queued calls; `most`, the
    maximum of queued calls; `gather`, the seconds for which the thread lets more calls queue up before it
    does them; `at_end`, a function that the thread calls last.

    Cancellation: the end of the block is shielded from it, for `grace` seconds at most. `dropped` counts the
    calls that were not made, `failed` those that have raised an `Exception`; the first of these is logged.
    """

    def __init__(
        self,
        name: str,
        *,
        grace: float = 1.0,
        most: int = MAX_PENDING,
        gather: float = GATHER,
        at_end: Callable[[], object] | None = None,
    ) -> None:
        self.name: str = name
        self._at_end = at_end
        self.dropped: int = 0
        self.failed: int = 0
        self._grace = check_seconds(grace, "grace", zero=True)
        self._most = most
        self._gather = gather
        #: Set when the block ends: nothing more gathers.
        self._ending = threading.Event()
        self._queue: queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._is_open = False
        self._done = trio.Event()
        self._is_finished = False
        self._token: trio.lowlevel.TrioToken | None = None

    def put(self, fn: Callable[[Unpack[Ts]], object], *args: Unpack[Ts]) -> bool:
        """Queue the call `fn(*args)` for the thread. Return False, and count it in `dropped`, if the queue is
        full or the block is not entered or is left. Any thread may call this, and it never blocks.
        """
        if not self._is_open or self._queue.qsize() >= self._most:
            self.dropped += 1
            return False
        self._queue.put((fn, args))
        return True

    @property
    def pending(self) -> int:
        """The number of queued calls."""
        return self._queue.qsize()

    async def __aenter__(self) -> Self:
        if self._thread is not None:
            raise RuntimeError(f"{self.name} is open, or has been: make another one")
        self._token = trio.lowlevel.current_trio_token()
        # A daemon, for a call that hangs must not keep the process.
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        self._is_open = False
        self._queue.put(None)
        self._ending.set()
        # Not a deadline of trio's: a thread goes by the time of the system, whatever the run's clock is.
        patience = threading.Timer(min(self._grace, threading.TIMEOUT_MAX), self._wake)
        patience.start()
        try:
            with trio.CancelScope(shield=True):
                await self._done.wait()
        finally:
            patience.cancel()
            patience.join()
        if self._is_finished:
            self._thread.join()  # it is at its end
            return
        self.dropped += max(0, self._queue.qsize() - 1)
        _logger.warning(
            "%s hangs: its thread is left behind after %g s, with %d pieces of work undone",
            *(self.name, self._grace, self.dropped),
        )

    def _work(self) -> None:
        try:
            while self._do_what_has_gathered():
                pass
            if self._at_end is not None:
                self._do(self._at_end, ())
        finally:
            self._is_finished = True
            self._wake()

    def _do_what_has_gathered(self) -> bool:
        """Wait for work, let more gather, and do it; return False at the end."""
        work = self._queue.get()
        self._ending.wait(self._gather)
        while work is not None:
            self._do(*work)
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                return True
        return False

    def _wake(self) -> None:
        assert self._token is not None
        try:
            self._token.run_sync_soon(self._done.set)
        except trio.RunFinishedError:
            pass  # it hung until after the end of the run

    def _do(self, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            fn(*args)
        except Exception:  # whatever it is: the next piece of work is to be tried
            self.failed += 1
            if self.failed == 1:
                _logger.exception("%s: the first failure of its work; others are counted", self.name)
