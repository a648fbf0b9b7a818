"""A slot: the place of one worker. It starts another worker after a crash, and replaces a worker on request.

The invariants:

1. **A successor is ready before its predecessor drains.** If the successor ends before that, or within
   `Supervision.settle` after, the predecessor goes on.
2. **A worker that ends without a drain is replaced**: at once the first time, then after a delay that
   doubles. The count of crashes in a row begins again with a worker that was ready for `Supervision.stable`.
3. **One task changes the slot**: other tasks send it messages.
4. **However that task ends, every task that waits for the slot goes on.**
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Final, TypeAlias, final

import attrs
import trio

from .policy import Supervision
from .worker import StartFailed, Worker

_logger: Final = logging.getLogger("triosock.workers")


@final
@attrs.define(eq=False)
class _Replace:
    """Asks for a successor. When `answered` is set, `reason` is "", or the reason why there is none."""

    reason: str = ""
    answered: trio.Event = attrs.field(factory=trio.Event)
    #: No task waits for the answer: if the start has not begun, it is not wanted any more.
    is_over: bool = False

    def answer(self, reason: str) -> None:
        self.reason = reason
        self.answered.set()


@final
@attrs.frozen(eq=False)
class _Ended:
    """Says that this worker has ended."""

    worker: Worker


_Message: TypeAlias = _Replace | _Ended
_RETIRED: Final = "the slot is retired"


@final
class Slot:
    """The place of one worker.

    Args:
      number: from 1 on.
      make: returns the next worker of the slot with this number, which is not started yet.
      drain: begins the drain of a worker.
      has_crashed: called after each crash; it may end the service.
      supervision: the time limits.
    """

    def __init__(
        self,
        number: int,
        make: Callable[[int], Worker],
        drain: Callable[[Worker], None],
        has_crashed: Callable[[], None],
        supervision: Supervision,
    ) -> None:
        self.number = number
        self.ready: trio.Event = trio.Event()
        self.worker: Worker | None = None
        #: The running workers, the oldest first.
        self.workers: list[Worker] = []
        self._starting: Worker | None = None
        self._crashes = 0
        #: The description of the last crash.
        self.failure: str = ""
        self._make = make
        self._drain = drain
        self._has_crashed = has_crashed
        self._supervision = supervision
        self._is_retired = False
        self._retired: trio.CancelScope = trio.CancelScope()
        self._pause: trio.CancelScope = trio.CancelScope()
        self._send, self._receive = trio.open_memory_channel[_Message](math.inf)

    # For other tasks

    @property
    def crashes(self) -> int:
        """The number of crashes in a row; 0 once its worker has been ready for `Supervision.stable`."""
        worker = self.worker
        if worker is not None and not worker.ended.is_set() and self._is_stable(worker):
            return 0
        return self._crashes

    def _is_stable(self, worker: Worker) -> bool:
        return trio.current_time() - worker.ready_at >= self._supervision.stable

    def retire(self) -> None:
        """Have no worker any more: one that is ready drains, and one that is starting is ended."""
        self._is_retired = True
        # One that is ready may serve clients, although its start is not reported yet: then `_start` goes on.
        if self._starting is None or not self._starting.check_ready():
            self._retire_now()

    def _retire_now(self) -> None:
        self._retired.cancel(reason="triosock: the slot is retired")

    def drain(self) -> None:
        """Drain all workers of this slot, including predecessors. A further call can only tighten the
        drain.
        """
        for worker in self.workers:
            self._drain(worker)

    async def replace(self) -> str:
        """Replace the worker by a successor; return "" when that has happened, or the reason why it has not.

        Cancellation: a successor whose start has begun may still take over.
        """
        if self._is_retired:
            await trio.lowlevel.checkpoint()
            return _RETIRED
        request = _Replace()
        self._send.send_nowait(request)
        self._pause.cancel(reason="triosock: a new worker is wanted now")
        try:
            await request.answered.wait()
        finally:
            request.is_over = True
        return request.reason

    # Its task

    async def run(self) -> None:
        """Have one worker serve until retired; return when the last worker has ended."""
        with self._send, self._receive:
            async with trio.open_nursery() as nursery:
                try:
                    with self._retired:
                        await self._serve(nursery)
                finally:
                    # Also if the service fails: no task may wait for this slot for ever.
                    self._is_retired = True
                    self.ready.set()
                    self._answer_all(_RETIRED)
                self.drain()

    async def _serve(self, nursery: trio.Nursery) -> None:
        self.worker = await self._start_until_ready(nursery)
        self.ready.set()
        async for message in self._receive:
            if isinstance(message, _Replace):
                if message.is_over:
                    continue
                reason = _RETIRED
                try:
                    reason = await self._start_successor(nursery)
                finally:
                    message.answer(reason)  # also if cancelled: the caller must not wait for ever
            elif message.worker is self.worker:
                self._record_crash(f"{message.worker} {message.worker.describe_end()}")
                self.worker = await self._start_until_ready(nursery)

    async def _start_until_ready(self, nursery: trio.Nursery) -> Worker:
        """Start workers, one after the other, until one is ready; return it."""
        while True:
            if delay := self._supervision.delay(self.crashes):
                _logger.warning("slot %d: the next worker starts in %g s", self.number, delay)
            with trio.CancelScope() as self._pause:
                await trio.sleep(delay)
            try:
                return await self._start(nursery)
            except StartFailed as error:
                self._record_crash(str(error))
                self._answer_all(str(error))

    def _record_crash(self, what: str) -> None:
        self._crashes += 1
        self.failure = what
        _logger.error("%s", what)
        self._has_crashed()

    async def _start(self, nursery: trio.Nursery) -> Worker:
        self._starting = worker = self._make(self.number)
        self.workers.append(worker)
        try:
            await nursery.start(self._run_worker, worker)
        finally:
            self._starting = None
        if self._is_retired:
            self._retire_now()
        return worker

    async def _run_worker(self, worker: Worker, task_status: trio.TaskStatus[None]) -> None:
        try:
            await worker.run(task_status)
        finally:
            if worker is self.worker and self._is_stable(worker):
                self._crashes = 0  # as of its end: the message may wait in the queue
            self.workers.remove(worker)
            self._send.send_nowait(_Ended(worker))

    async def _start_successor(self, nursery: trio.Nursery) -> str:
        """Start a successor, and put it into the place of the worker; return "", or the reason why it
        failed.
        """
        try:
            successor = await self._start(nursery)
        except StartFailed as error:
            return str(error)
        with trio.move_on_after(self._supervision.settle):
            await successor.ended.wait()
            return f"{successor} {successor.describe_end()} as soon as it was ready"
        predecessor, self.worker = self.worker, successor
        self._crashes = 0
        if predecessor is not None:
            self._drain(predecessor)
        return ""

    def _answer_all(self, reason: str) -> None:
        """Answer all requests for a successor with `reason`. Ends of workers in the queue have no effect any
        more.
        """
        while True:
            try:
                message = self._receive.receive_nowait()
            except trio.WouldBlock:
                return
            if isinstance(message, _Replace):
                message.answer(reason)
