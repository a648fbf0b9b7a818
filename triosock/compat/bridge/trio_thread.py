"""The host: the trio run that compat servers use, in a helper thread of this process or in the caller's trio
program.

Rules of this file:

1. **Sync code never runs in the trio thread, and trio never runs in the caller's thread.** `Host.run()`
   crosses between them.
2. The helper thread exists from the first `acquire_host()` to the last `release_host()`, which returns when
   the thread has ended. It is keyed by process id: after a fork, the parent's thread does not exist in the
   child, its lock may be held, and its descriptors are not served; the child uses none of them.
3. The caller of `Host.run()` may be the main thread, and be interrupted there by a signal handler that
   raises. The async function is then cancelled and not waited for, so that Ctrl-C takes effect at once.

The thread is a daemon, as programs whose serving threads are daemons must be able to exit. It blocks no
signal: threads and child processes that async code starts from it would inherit that. The system gives a
process's signals to the main thread if it can.
"""

from __future__ import annotations

import os
import socket
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, TypeVarTuple, Unpack

import attrs
import trio

from ..requests.clock import now
from .calls import Calls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_Lock: Final = threading.Lock
#: What trio needs to start a run, as it was at import; a program or a test may have replaced it.
_NEEDED: Final = (
    (socket, "socket", socket.socket),
    (socket, "socketpair", socket.socketpair),
    (threading, "Thread", threading.Thread),
    (threading, "Lock", threading.Lock),
)
_Birth: TypeAlias = "tuple[trio.lowlevel.TrioToken, Calls]"

#: The name of the helper thread; fixed, so that the numbers in `Thread-N` stay the program's own.
THREAD_NAME = "triosock host"


class Ended(Exception):
    """The scope of a `Host.run()` was cancelled before the function had a result."""


@attrs.define(eq=False)
class Host:
    """A trio run, as other threads use it."""

    token: trio.lowlevel.TrioToken
    pid: int = attrs.field(factory=os.getpid)

    def run(self, scope: trio.CancelScope, async_fn: Callable[[*Ts], Awaitable[T]], *args: Unpack[Ts]) -> T:
        """Run `async_fn(*args)` inside `scope` in the trio thread and return its result. Blocks the calling
        thread.

        Raises what it raises, and Ended if `scope` was cancelled first. An exception that a signal handler
        raises in the waiting thread cancels the scope.
        """

        async def inside() -> T:
            with scope:
                return await async_fn(*args)
            raise Ended

        try:
            return self._run(inside)
        except Ended:
            raise
        except BaseException:
            self.soon(scope.cancel)
            raise

    def soon(self, function: Callable[[*Ts], object], *args: Unpack[Ts]) -> None:
        """Call a sync function in the trio thread, soon; nothing happens if the run is over. Never blocks."""
        try:
            self.call(function, *args)
        except trio.RunFinishedError:
            pass  # the run is over

    def call(self, function: Callable[[*Ts], object], *args: Unpack[Ts]) -> None:
        """Call a sync function in the trio thread, soon. Never blocks.

        Raises: trio.RunFinishedError if the run is over.
        """
        self.token.run_sync_soon(function, *args)

    def _run(self, async_fn: Callable[[], Awaitable[T]]) -> T:
        return trio.from_thread.run(async_fn, trio_token=self.token)


@attrs.define(eq=False)
class _Helper(Host):
    """The host in a thread of its own."""

    thread: threading.Thread = attrs.field(kw_only=True)
    calls: Calls = attrs.field(kw_only=True)
    users: int = 0

    def call(self, function: Callable[[*Ts], object], *args: Unpack[Ts]) -> None:
        """As above."""
        if not self.calls.soon(function, *args):
            raise trio.RunFinishedError("the trio run for compat servers is over")

    def _run(self, async_fn: Callable[[], Awaitable[T]]) -> T:
        return self.calls.run(async_fn)


class _HelperSlot:
    """This process's helper, if there is one, and the lock for its start and end."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = _Lock()
        self.helper: _Helper | None = None


_slot = _HelperSlot()

#: Servers that run in their caller's trio program, by id, as long as they do.
_chosen: dict[int, Host] = {}


def _own_slot() -> _HelperSlot:
    # Right after a fork there is one thread, so no two can find the parent's slot at once.
    global _slot
    if _slot.pid != os.getpid():
        _slot = _HelperSlot()
    return _slot


def acquire_host() -> Host:
    """Return this process's host, starting it if this is the first use. Give it back exactly once.

    Raises: RuntimeError if it cannot be started (too many threads or descriptors, or the interpreter is
    ending).
    """
    slot = _own_slot()
    with slot.lock:
        if slot.helper is None:
            slot.helper = _start()
        slot.helper.users += 1
        return slot.helper


def release_host(host: object) -> None:
    """Undo one `acquire_host()`; the last one ends the thread and waits for that. A chosen host is left
    alone.
    """
    if not isinstance(host, _Helper) or host.pid != os.getpid():
        return
    slot = _own_slot()
    with slot.lock:
        host.users -= 1
        if host.users:
            return
        slot.helper = None
        host.calls.soon(host.calls.end)
        # Not where the last green request gives it back, in that thread: it ends when this task has.
        if threading.current_thread() is not host.thread:
            host.thread.join()


def host_for(server: object) -> Host | None:
    """Return the host chosen for this server (`await compat.serve(server)`), or None: the process's own."""
    return _chosen.get(id(server))


def choose(server: object, host: Host | None) -> None:
    """Use `host` for the waits of this server, until None is chosen."""
    if host is None:
        _chosen.pop(id(server), None)
    else:
        _chosen[id(server)] = host


class _RealTime(trio.abc.Clock):
    """The clock of the host: that of the requests."""

    def start_clock(self) -> None:
        """Nothing: it runs already."""

    def current_time(self) -> float:
        """Return seconds since some moment."""
        return now()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long to wait for that time."""
        return deadline - self.current_time()


def _start() -> _Helper:
    for module, name, thing in _NEEDED:
        if getattr(module, name) is not thing:
            raise RuntimeError(
                f"the program has replaced {module.__name__}.{name}: no trio run can start now"
            )
    born: SimpleQueue[_Birth | BaseException] = SimpleQueue()
    thread = threading.Thread(target=_main, args=(born,), name=THREAD_NAME, daemon=True)
    thread.start()
    try:
        birth = born.get()
    except BaseException:
        # Ctrl-C while it starts: wait until it runs, since it can only be ended then.
        birth = born.get()
        if not isinstance(birth, BaseException):
            birth[1].soon(birth[1].end)
        raise
    if isinstance(birth, BaseException):
        thread.join()
        raise RuntimeError("the trio run for compat servers could not start") from birth
    return _Helper(birth[0], thread=thread, calls=birth[1])


def _main(born: SimpleQueue[_Birth | BaseException]) -> None:
    alive = False

    async def live() -> None:
        """Take calls. All work is done in other tasks, which they start."""
        nonlocal alive
        calls = Calls()
        born.put((trio.lowlevel.current_trio_token(), calls))
        alive = True
        await calls.pump()

    try:
        trio.run(live, clock=_RealTime())
    except BaseException as error:
        # Mostly out of descriptors; the waiting thread gets the error, and can wait without a host.
        if alive:
            raise
        born.put(error)
