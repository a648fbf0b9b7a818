"""Work that may hang, in a background thread: writing lines, ending spans.

The invariant: **handing work over never waits.** The queue is bounded; work is dropped and counted when it
is full, and only the thread waits for a full disk, a pipe without a reader, or an exporter that hangs.

The thread lives as long as its `async with` block. A thread cannot be ended from outside: one that still
hangs after the grace period is left behind, as a daemon, and a log line says so.
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
    """One thread, called `name`, that does queued work in order: `async with BackgroundThread("…") as
    thread:`.

    Args: `grace`, how many seconds leaving the block waits for what is pending; `most`, how many pieces of
    work may wait; `gather`, how many seconds work waits for more of it; `at_end`, what the thread calls last.

    Leaving is shielded from cancellation for that time. `dropped` counts what was not done, `failed` what has
    raised an `Exception`.
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
        """Have `fn(*args)` called in the thread; return False, and count it, if that will not be. Any thread
        may call this, and it never blocks.
        """
        if not self._is_open or self._queue.qsize() >= self._most:
            self.dropped += 1
            return False
        self._queue.put((fn, args))
        return True

    @property
    def pending(self) -> int:
        """How many pieces of work wait."""
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
            self._thread.join()  # it has said its last word
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
