"""The host: the trio run that compat servers use, in a helper thread of this process or in the caller's trio
program.

Rules of this file:

1. **Sync code never runs in the trio thread, and trio never runs in the caller's thread.** `Host.run()`
   crosses between them.
2. The helper thread exists from the first `acquire_host()` to the last `release_host()`, which returns when
   the thread has ended. It belongs to one process: in the child of a fork, the parent's thread does not
   exist, its lock may be held, and no task waits for its descriptors; so the child starts its own.
3. A signal handler may raise in a thread that waits in `Host.run()`. The async function is then cancelled and
   not waited for, so that Ctrl-C takes effect at once.
4. The lock of the helper is reentrant, since a signal handler may need the host while it interrupts its own
   thread in the start or the end of the host.

The thread is a daemon, since a program whose serving threads are daemons must be able to exit. It does not
block signals, since threads and child processes that async code starts from it would inherit the mask. The
kernel delivers signals of the process to its main thread if that does not block them.
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
_RLock: Final = threading.RLock
#: The names that trio uses to start a run, as they were at import: a program or a test may replace them.
_NEEDED: Final = (
    (socket, "socket", socket.socket),
    (socket, "socketpair", socket.socketpair),
    (threading, "Thread", threading.Thread),
    (threading, "Lock", threading.Lock),
)
_Running: TypeAlias = "tuple[trio.lowlevel.TrioToken, Calls]"

#: The name of the helper thread. With a default name it would take one of the program's `Thread-N` numbers.
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

        Raises: what it raises; Ended if `scope` was cancelled first. An exception that a signal handler
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
        """Have a sync function called in the trio thread, unless the run is over. Never blocks."""
        try:
            self.call(function, *args)
        except trio.RunFinishedError:
            pass

    def call(self, function: Callable[[*Ts], object], *args: Unpack[Ts]) -> None:
        """Have a sync function called in the trio thread. Never blocks.

        Raises: trio.RunFinishedError if the run is over.
        """
        self.token.run_sync_soon(function, *args)

    def _run(self, async_fn: Callable[[], Awaitable[T]]) -> T:
        return trio.from_thread.run(async_fn, trio_token=self.token)


@attrs.define(eq=False)
class _Helper(Host):
    """The host that runs in the helper thread."""

    thread: threading.Thread = attrs.field(kw_only=True)
    calls: Calls = attrs.field(kw_only=True)
    users: int = 0

    def call(self, function: Callable[[*Ts], object], *args: Unpack[Ts]) -> None:
        """As `Host.call`."""
        if not self.calls.soon(function, *args):
            raise trio.RunFinishedError("the trio run for compat servers is over")

    def _run(self, async_fn: Callable[[], Awaitable[T]]) -> T:
        return self.calls.run(async_fn)


class _HelperSlot:
    """The helper of one process, if there is one, and the lock for its start and end."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = _RLock()
        self.helper: _Helper | None = None


_slot = _HelperSlot()

#: The hosts of servers that run in a trio program, by the id of the server, as long as they run there.
_chosen: dict[int, Host] = {}


def _own_slot() -> _HelperSlot:
    # After a fork the child has one thread, so no two threads replace the parent's slot at once.
    global _slot
    if _slot.pid != os.getpid():
        _slot = _HelperSlot()
    return _slot


def acquire_host() -> Host:
    """Return the host of this process; start it if there is none. Call `release_host()` exactly once.

    Raises: RuntimeError if it cannot be started (too many threads or descriptors, or the interpreter is
    ending).
    """
    slot = _own_slot()
    with slot.lock:
        if slot.helper is None:
            helper = _start()
            if slot.helper is None:
                slot.helper = helper
            else:
                # A signal handler has started another one in this thread meanwhile.
                _end(helper)  # type: ignore[unreachable]
        slot.helper.users += 1
        return slot.helper


def release_host(host: object) -> None:
    """Undo one `acquire_host()`; the last call ends the thread, and waits until it has ended. Does nothing
    for the host of a trio program.
    """
    if not isinstance(host, _Helper) or host.pid != os.getpid():
        return
    slot = _own_slot()
    with slot.lock:
        host.users -= 1
        if host.users:
            return
        slot.helper = None
        _end(host)


def _end(helper: _Helper) -> None:
    helper.calls.soon(helper.calls.end)
    # The last green request releases it in that thread itself, which ends when the task has ended.
    if threading.current_thread() is not helper.thread:
        helper.thread.join()


def host_for(server: object) -> Host | None:
    """Return the host that `choose()` has set for this server; None for the host of the process."""
    return _chosen.get(id(server))


def choose(server: object, host: Host | None) -> None:
    """Use `host` for the waits of this server, until this is called with None."""
    if host is None:
        _chosen.pop(id(server), None)
    else:
        _chosen[id(server)] = host


class _RealTime(trio.abc.Clock):
    """The clock of the host: the one of the requests, `clock.now()`."""

    def start_clock(self) -> None:
        """Do nothing: the clock runs already."""

    def current_time(self) -> float:
        """Return `clock.now()`, in seconds."""
        return now()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return the seconds until `deadline`."""
        return deadline - self.current_time()


def _start() -> _Helper:
    for module, name, thing in _NEEDED:
        if getattr(module, name) is not thing:
            raise RuntimeError(
                f"the program has replaced {module.__name__}.{name}: no trio run can start now"
            )
    started: SimpleQueue[_Running | BaseException] = SimpleQueue()
    thread = threading.Thread(target=_main, args=(started,), name=THREAD_NAME, daemon=True)
    thread.start()
    try:
        running = started.get()
    except BaseException:
        # Ctrl-C during the start: the run can be ended only when it runs.
        running = started.get()
        if not isinstance(running, BaseException):
            running[1].soon(running[1].end)
        raise
    if isinstance(running, BaseException):
        thread.join()
        raise RuntimeError("the trio run for compat servers could not start") from running
    return _Helper(running[0], thread=thread, calls=running[1])


def _main(started: SimpleQueue[_Running | BaseException]) -> None:
    is_running = False

    async def serve_calls() -> None:
        """Make the calls. Each starts a task of its own for what can block."""
        nonlocal is_running
        calls = Calls()
        started.put((trio.lowlevel.current_trio_token(), calls))
        is_running = True
        await calls.pump()

    try:
        trio.run(serve_calls, clock=_RealTime())
    except BaseException as error:
        # Usually EMFILE. The waiting thread gets the error, and its server waits without a host.
        if is_running:
            raise
        started.put(error)
