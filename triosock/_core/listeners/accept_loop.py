"""The accept loop.

The invariants:

1. **What is accepted is admitted, with no await between.** `admit` (`StreamServer._admit` in
   `stream/server.py`) counts it and starts its task, or closes it, also if the task cannot be started.
2. **A slot comes first.** With `overflow="wait"` a connection is accepted only if a slot is free.
3. **An accept loop ends only if its listener is closed.** Every error has a row in the table of
   `accept_errors.py`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Final, Protocol, final

import trio

from ..model.addresses import Address
from ..model.emitter import Emitter
from ..model.events import AcceptFailed
from ..registry.rate_limits import AcceptPacer
from ..registry.registry import NEVER, Registry
from ..registry.shedding import BATCH as BATCH
from ..registry.shedding import Shedding
from .accept_errors import ErrorAction, judge
from .gate import Gate
from .listener import Accepted, Listener, PeerName

#: How many may wait in a queue that cannot be counted: net.core.somaxconn of Linux since 5.4, listen(2).
LONGEST_QUEUE: Final = 4096
#: The first and the longest wait after a want of descriptors: trio's 0.1 s, Go's 1 s.
FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 1.0


class Source(Protocol):
    """A listener or a datagram socket."""

    @property
    def address(self) -> Address:
        """Where it listens."""
        raise NotImplementedError

    async def wait_ready(self) -> None:
        """Return when something may be there to accept or receive."""


class SourceLoop(abc.ABC):
    """The loop that accept loops and receive loops share: wait until something is there, and take it."""

    def __init__(self, source: Source, registry: Registry, gate: Gate, emitter: Emitter) -> None:
        self._source = source
        self._registry = registry
        self._gate = gate
        self._emitter = emitter
        #: Whether a slot must be free before an accept: `overflow="wait"`.
        self._must_wait = registry.limits.overflow == "wait"
        #: Keeps the loop to a rate; None without one.
        self._pace: AcceptPacer | None = None
        self._delay = FIRST_DELAY
        #: The source was closed from outside.
        self._ended = False

    async def run(self) -> None:
        """Accept or receive until cancelled, or until the source is closed."""
        while True:
            await self._gate.wait_open()
            if self._must_wait and not self._registry.has_room:
                await self._registry.wait_room()  # if there is room, wait_ready() is checkpoint enough
            try:
                await self._source.wait_ready()
                if self._pace is not None:
                    await self._wait_turn(self._pace)
                self._take_some()
            except (OSError, trio.ClosedResourceError) as error:
                if await self._consider(error):
                    return

    async def _wait_turn(self, pace: AcceptPacer) -> None:
        await pace.wait()

    @abc.abstractmethod
    def _take_some(self) -> None:
        """Take what is there; stop after a batch to let other tasks run."""

    def _judge(self, error: BaseException) -> ErrorAction:
        return judge(error)

    async def _consider(self, error: Exception) -> bool:
        """Do what the table says about an error; return whether the loop ends."""
        action = self._judge(error)
        match action:
            case ErrorAction.GO_ON:
                self._tell(error, action)
                await trio.lowlevel.checkpoint()
            case ErrorAction.BACK_OFF:
                self._tell(error, action, self._delay)
                await self._back_off()
            case ErrorAction.END:
                self._tell(error, action)
                self._ended = True
            case ErrorAction.CRASH:
                self._tell(error, action)
                raise error
        return action is ErrorAction.END

    async def _back_off(self) -> None:
        with trio.move_on_after(self._delay):
            await self._registry.wait_departure()  # an entry that is removed has closed a descriptor
        self._delay = min(self._delay * 2, LAST_DELAY)

    def _tell(self, error: Exception, action: ErrorAction, delay: float = 0.0) -> None:
        self._registry.tally.accept_errors += 1
        self._emitter.emit(
            AcceptFailed, address=self._source.address, error=error, action=action.value, delay=delay
        )


@final
class AcceptLoop(SourceLoop):
    """Passes what `listener` accepts to `admit`."""

    def __init__(
        self,
        listener: Listener,
        admit: Callable[[Accepted, PeerName, Listener], None],
        registry: Registry,
        gate: Gate,
        emitter: Emitter,
        pace: AcceptPacer | None = None,
        shedding: Shedding | None = None,
    ) -> None:
        super().__init__(listener, registry, gate, emitter)
        self._shedding = shedding
        #: Since when the queue has not been empty, if connections wait for nothing but the loop.
        self.stands_since: float = NEVER
        self._last_batch = 0.0
        self._pace = pace
        self._listener = listener
        self._admit = admit

    async def _wait_turn(self, pace: AcceptPacer) -> None:
        if not pace.is_due():
            self.stands_since = NEVER  # connections wait for the rate, and not for the loop
        await pace.wait()

    def _take_some(self) -> None:
        """Admit all that are there; stop early when there is no more room, or when it is time to let others
        run.
        """
        gate, registry, listener, admit = self._gate, self._registry, self._listener, self._admit
        pace = self._pace
        stands_since, self.stands_since = self.stands_since, NEVER
        for _ in range(self._shedding.batch if self._shedding is not None else BATCH):
            if not gate.is_open or (self._must_wait and not registry.has_room):
                return
            if pace is not None and not pace.is_due():
                return
            try:
                accepted, peer = listener.accept_nowait()
            except trio.WouldBlock:
                return
            self._delay = FIRST_DELAY
            admit(accepted, peer, listener)
        self._note_queue(stands_since)

    def _note_queue(self, stands_since: float) -> None:
        """Note that a batch was accepted and the queue may not be empty, as since `stands_since`."""
        now, shedding = trio.current_time(), self._shedding
        self.stands_since = min(stands_since, now)
        if shedding is not None:
            if stands_since < now:  # so the loop has not slept since the last batch
                shedding.note_pass(now - self._last_batch)
            shedding.note_queue(now - self.stands_since)
        self._last_batch = now

    async def drain_backlog(self) -> None:
        """Admit what is in the queue, also without a free slot: a drain serves it.

        At most those that were there at the beginning, and `BATCH` more: a client that connects as fast as
        the server accepts would otherwise hold the drain for ever. No await follows the accept that found the
        queue empty, so that the listener can be closed at once. A checkpoint after each `BATCH`.
        """
        waiting = self._listener.count_waiting()
        most = (LONGEST_QUEUE if waiting is None else waiting) + BATCH
        for number in range(most):
            if self._ended:
                return
            if number % BATCH == BATCH - 1:
                await trio.lowlevel.checkpoint()
            try:
                accepted, peer = self._listener.accept_nowait()
            except trio.WouldBlock:
                return
            except (OSError, trio.ClosedResourceError) as error:
                action = self._judge(error)
                self._tell(error, action)
                if action is not ErrorAction.GO_ON:
                    # Without descriptors nothing can be accepted, and the listener is about to be closed.
                    return
            else:
                self._admit(accepted, peer, self._listener)
