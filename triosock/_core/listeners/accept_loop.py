"""The accept loop, and the table of what can go wrong in it.

The invariants:

1. **What is accepted is admitted, with no await between.** `admit` counts it and starts its task, or closes
   it.
2. **Room comes first.** With `overflow="wait"` nothing is taken from the kernel's queue that could not be
   served.
3. **An accept loop ends only if its listener is closed.** Every error has a row in the table below, and none
   of them leads to a busy
   loop: after a want of descriptors or memory it waits until one of ours is given back, or a moment that
   doubles each time.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Callable
from typing import Final, final

import trio

from ..model.emitter import Emitter
from ..model.events import AcceptFailed
from ..registry.registry import Registry
from .listener import Accepted, Listener, PeerName

#: How many are accepted in one go before others get their turn; Twisted, tornado and gevent take about as
#: many.
BATCH: Final = 100
#: How many may wait in a queue that cannot be counted: net.core.somaxconn of Linux since 5.4, listen(2).
LONGEST_QUEUE: Final = 4096
#: The first and the longest wait after a want of descriptors: trio's 0.1 s, Go's 1 s.
FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 1.0


class Verdict(enum.Enum):
    """What an accept loop does about an error."""

    GO_ON = "go on"
    BACK_OFF = "back off"
    END = "end"
    CRASH = "crash"


def _named(*names: str) -> frozenset[int]:
    # Not every system has every name.
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


#: The connection was gone, or a firewall forbade it, before it could be handed over. accept(2) on Linux
#: passes such errors of the new socket on, and says to treat them like EAGAIN; trio's survey of other systems
#: adds the rest.
THE_PEERS: Final = _named(
    *(
        "ECONNABORTED",
        "EPERM",
        "EPROTO",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
    ),
    *("ENETUNREACH", "ENOSR", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT", "ETIMEDOUT", "ECONNRESET", "EINTR"),
)
#: The process or the machine has no descriptor or memory left. The connection stays in the queue.
THE_MACHINES: Final = _named("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS")
#: The listener is no listener any more: closed, or shut down (EINVAL on Linux).
CLOSED: Final = _named("EBADF", "ENOTSOCK", "EINVAL")


def judge(error: BaseException) -> Verdict:
    """Return the verdict on an error of `wait_ready` or `accept_nowait`. What is in no row is a bug, and must
    be seen: CRASH.
    """
    if isinstance(error, trio.ClosedResourceError):
        return Verdict.END
    if isinstance(error, OSError):
        if error.errno in THE_PEERS:
            return Verdict.GO_ON
        if error.errno in THE_MACHINES:
            return Verdict.BACK_OFF
        if error.errno in CLOSED:
            return Verdict.END
    return Verdict.CRASH


@final
class Gate:
    """Open, or shut by `suspend()`."""

    def __init__(self) -> None:
        #: Whether anything may be accepted.
        self.is_open: bool = True
        self._opened = trio.Event()

    def shut(self) -> None:
        """Let nobody through until `open()`."""
        if self.is_open:
            self.is_open = False
            self._opened = trio.Event()

    def open(self) -> None:
        """Let everybody through."""
        self.is_open = True
        self._opened.set()

    async def wait_open(self) -> None:
        """Return when it is open. A checkpoint only if it must wait."""
        if not self.is_open:
            await self._opened.wait()


class Door:
    """One accept loop: brings what comes to `listener` to `admit`."""

    def __init__(
        self,
        listener: Listener,
        admit: Callable[[Accepted, PeerName, Listener], None],
        registry: Registry,
        gate: Gate,
        emitter: Emitter,
    ) -> None:
        self._listener = listener
        self._admit = admit
        self._registry = registry
        self._gate = gate
        self._emitter = emitter
        self._delay = FIRST_DELAY
        #: The listener was closed by somebody else.
        self._ended = False

    async def run(self) -> None:
        """Accept until cancelled, or until the listener is closed."""
        must_wait = self._registry.limits.overflow == "wait"
        while True:
            await self._gate.wait_open()
            if must_wait and not self._registry.has_room:  # if there is, wait_ready() is checkpoint enough
                await self._registry.wait_room()
            try:
                await self._listener.wait_ready()
                self._accept_some(must_wait)
            except (OSError, trio.ClosedResourceError) as error:
                if await self._consider(error):
                    return

    def _accept_some(self, must_wait: bool) -> None:
        """Admit all who are there; stop early when there is no more room, or when it is time to let others
        run.
        """
        gate, registry, listener, admit = self._gate, self._registry, self._listener, self._admit
        for _ in range(BATCH):
            if not gate.is_open or (must_wait and not registry.has_room):
                return
            try:
                accepted, peer = listener.accept_nowait()
            except trio.WouldBlock:
                return
            self._delay = FIRST_DELAY
            admit(accepted, peer, listener)

    async def sweep(self) -> None:
        """Admit those who are in the queue, room or no room: a drain owes them an answer.

        No more than were there at its beginning, and `BATCH` besides: who connects as fast as we accept would
        otherwise hold the drain for ever. Returns without another await after the accept that found the queue
        empty, for the listener to be closed. A checkpoint after each `BATCH`.
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
                verdict = self._judge(error)
                self._tell(error, verdict)
                if verdict is not Verdict.GO_ON:
                    # Without descriptors nobody can be let in, and the listener is about to be closed.
                    return
            else:
                self._admit(accepted, peer, self._listener)

    def _judge(self, error: BaseException) -> Verdict:
        return judge(error)

    async def _consider(self, error: Exception) -> bool:
        """Do what the table says about an error; return whether this was the end."""
        verdict = self._judge(error)
        match verdict:
            case Verdict.GO_ON:
                self._tell(error, verdict)
                await trio.lowlevel.checkpoint()
            case Verdict.BACK_OFF:
                self._tell(error, verdict, self._delay)
                await self._back_off()
            case Verdict.END:
                self._tell(error, verdict)
                self._ended = True
            case Verdict.CRASH:
                self._tell(error, verdict)
                raise error
        return verdict is Verdict.END

    async def _back_off(self) -> None:
        with trio.move_on_after(self._delay):
            await self._registry.wait_departure()  # gives a descriptor back
        self._delay = min(self._delay * 2, LAST_DELAY)

    def _tell(self, error: Exception, verdict: Verdict, delay: float = 0.0) -> None:
        self._registry.tally.accept_errors += 1
        self._emitter.emit(
            AcceptFailed, address=self._listener.address, error=error, action=verdict.value, delay=delay
        )
