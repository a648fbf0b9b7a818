"""A slot: the place of one worker. If it crashes, another one is started.

The invariants:

1. **A successor is ready before its predecessor drains.** One that fails, within `Supervision.settle` too,
   leaves the predecessor as it was.
2. **A worker that ends without a drain is replaced**: at once the first time, then with a delay that doubles.
   One that lived for `Supervision.stable` starts the count anew.
3. **One task decides**: other tasks send it messages.
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
    """Asks for a successor. `reason` says why there is none, or is "", when it is `answered`."""

    reason: str = ""
    answered: trio.Event = attrs.field(factory=trio.Event)

    def answer(self, reason: str) -> None:
        self.reason = reason
        self.answered.set()


@final
@attrs.frozen(eq=False)
class _Ended:
    """This worker has ended."""

    worker: Worker


_Message: TypeAlias = _Replace | _Ended
_RETIRED: Final = "the slot is retired"


@final
class Slot:
    """The place of one worker.

    Args:
      number: from 1 on.
      make: makes the next worker of this slot.
      drain: tells a worker to drain.
      has_crashed: called after each crash, so that the service can decide whether to go on.
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
        #: All that live, the oldest first.
        self.workers: list[Worker] = []
        self.crashes: int = 0
        #: What the last crash was.
        self.failure: str = ""
        self._make = make
        self._drain = drain
        self._has_crashed = has_crashed
        self._supervision = supervision
        self._is_retired = False
        self._retired: trio.CancelScope = trio.CancelScope()
        self._pause: trio.CancelScope = trio.CancelScope()
        self._tell, self._inbox = trio.open_memory_channel[_Message](math.inf)

    # What others want of it

    def retire(self) -> None:
        """Keep no worker any more: one that serves drains, and one that starts is ended."""
        self._is_retired = True
        self._retired.cancel(reason="triosock: the slot is retired")

    def drain(self) -> None:
        """Have all workers of this slot drain, the predecessors too; again, it can only tighten."""
        for worker in self.workers:
            self._drain(worker)

    async def replace(self) -> str:
        """Replace the worker by a successor; return "" when it has, or the reason why the old one stays."""
        if self._is_retired:
            await trio.lowlevel.checkpoint()
            return _RETIRED
        wish = _Replace()
        self._tell.send_nowait(wish)
        self._pause.cancel(reason="triosock: a new worker is wanted now")
        await wish.answered.wait()
        return wish.reason

    # Its task

    async def keep(self) -> None:
        """Have one worker serve until retired; return when the last of them has ended."""
        with self._tell, self._inbox:
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
        async for message in self._inbox:
            if isinstance(message, _Replace):
                reason = _RETIRED
                try:
                    reason = await self._succeed(nursery)
                finally:
                    message.answer(reason)  # the caller must not wait for ever
            elif message.worker is self.worker:
                self._count_crash(message.worker)
                self.worker = await self._start_until_ready(nursery)

    async def _start_until_ready(self, nursery: trio.Nursery) -> Worker:
        """Start workers until one is ready."""
        while True:
            if delay := self._supervision.delay(self.crashes):
                _logger.warning("slot %d: the next worker starts in %g s", self.number, delay)
            with trio.CancelScope() as self._pause:
                await trio.sleep(delay)
            try:
                return await self._start(nursery)
            except StartFailed as error:
                self._tell_crash(str(error))
                self._answer_all(str(error))

    def _count_crash(self, worker: Worker) -> None:
        if trio.current_time() - worker.ready_at >= self._supervision.stable:
            self.crashes = 0
        self._tell_crash(f"{worker} {worker.describe_end()}")

    def _tell_crash(self, what: str) -> None:
        self.crashes += 1
        self.failure = what
        _logger.error("%s", what)
        self._has_crashed()

    async def _start(self, nursery: trio.Nursery) -> Worker:
        worker = self._make(self.number)
        self.workers.append(worker)
        await nursery.start(self._live, worker)
        return worker

    async def _live(self, worker: Worker, task_status: trio.TaskStatus[None]) -> None:
        try:
            await worker.run(task_status)
        finally:
            self.workers.remove(worker)
            self._tell.send_nowait(_Ended(worker))

    async def _succeed(self, nursery: trio.Nursery) -> str:
        """Put a successor into the place of the worker; return "", or why not."""
        try:
            successor = await self._start(nursery)
        except StartFailed as error:
            return str(error)
        with trio.move_on_after(self._supervision.settle):
            await successor.ended.wait()
            return f"{successor} {successor.describe_end()} as soon as it was ready"
        predecessor, self.worker = self.worker, successor
        self.crashes = 0
        if predecessor is not None:
            self._drain(predecessor)
        return ""

    def _answer_all(self, reason: str) -> None:
        """Tell all who wait for a successor why there is none. What else is in the inbox is of the past."""
        while True:
            try:
                message = self._inbox.receive_nowait()
            except trio.WouldBlock:
                return
            if isinstance(message, _Replace):
                message.answer(reason)
