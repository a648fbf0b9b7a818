"""The task of a green request, and the waits of sync code in it.

Rules of this file:

1. `wait()` works only in a green handler: in any other thread or task it raises, and never blocks the event
   loop.
2. A cancellation is delivered at a wait, as `trio.Cancelled`. A handler that catches it and goes on cannot be
   ended, and is reported on standard error.
3. **In the child of a fork, no code is in a green handler**, also if a handler has forked: its waits raise.
   They would run the copy of the parent's trio run, with a copy of every request in it. A handler that
   returns or raises there ends the child, so that its task does not run that copy either.
4. **When the interpreter ends, no greenlet is left**, unless a handler catches the cancellation. Requests
   with `daemon_threads` may run then, as daemon threads do. Until 3.13 the interpreter ends a thread that
   runs at that time by unwinding its C stack (pthread_exit(3)); a switch between greenlets is C++ code that
   this crashes. So the requests are cancelled and waited for as long as one ends every `AT_EXIT_TIMEOUT`
   seconds, and none begins any more. Rejected: a fixed time, which may be too short for thousands of them;
   and to stop the thread at once, since later atexit functions may need it.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import traceback
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, TypeVar, TypeVarTuple, Unpack

import attrs
import trio
from trio.lowlevel import RunVar, current_task, in_trio_run, spawn_system_task
from trio.lowlevel import notify_closing as notify_closing
from trio.lowlevel import wait_readable as wait_readable
from trio.lowlevel import wait_writable as wait_writable

from triosock._core.transport.checkpoints import SLEEP_MESSAGE, TURN_MESSAGE, checkpoint, give_turn

from .greenlets import Greenlet, getcurrent
from .portal import Portal
from .readers import Input, ReaderGroup
from .watch import ROOTS

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: The green requests by their greenlets. Changed in trio threads only.
_by_greenlet: dict[Greenlet, GreenTask] = {}
#: The green requests by their trio tasks, for greenlets that a handler has started.
_by_task: dict[trio.lowlevel.Task, GreenTask] = {}
#: At the end of the interpreter, seconds without the end of a request after which the others are not waited
#: for.
AT_EXIT_TIMEOUT: Final = 1.0
AT_EXIT: Final = "triosock.compat: the interpreter ends"
#: Negative, since identifiers of threads are positive, and a request table has both as keys.
_numbers = itertools.count(-1, -1)
_readers: RunVar[ReaderGroup] = RunVar("triosock.compat.green.readers")
#: The reader groups of all runs, including ended ones.
_reader_groups: list[weakref.ref[ReaderGroup]] = []
#: The process whose interpreter ends; 0 for none.
_ending_process = 0


@attrs.define(eq=False, slots=True)
class GreenTask:
    """The task of a green request. `number` is its key where a thread has its identifier."""

    daemon: bool
    number: int = attrs.field(factory=_numbers.__next__)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    #: Whether a wait of the handler has raised trio.Cancelled.
    was_cancelled: bool = False
    #: The reader group of its trio run, and its task; set by `run()`.
    readers: ReaderGroup = attrs.field(init=False, repr=False)
    trio_task: trio.lowlevel.Task = attrs.field(init=False, repr=False)
    _portal: Portal | None = None

    async def run(self, fn: Callable[[*Ts], T], *args: Unpack[Ts]) -> T:
        """Run `fn(*args)` as the handler of this request, in the calling trio task."""
        self.trio_task = current_task()
        self.readers = readers = readers_here()
        self._portal = portal = Portal(readers.watch)
        _by_task[self.trio_task] = self
        readers.enter()
        try:
            if readers.on_empty is not None:
                self.scope.cancel(AT_EXIT)
                await checkpoint()  # the handler does not begin
            begin: Callable[[Callable[[*Ts], T], *Ts], T] = self._begin
            return await portal.run(begin, fn, *args)
        finally:
            _by_task.pop(self.trio_task, None)
            self._portal = None
            readers.leave()

    def _begin(self, fn: Callable[[*Ts], T], *args: Unpack[Ts]) -> T:
        here = getcurrent()
        _by_greenlet[here] = self
        try:
            return fn(*args)
        except BaseException as error:
            if self.readers.pid != os.getpid():
                report(error)
            raise
        finally:
            _by_greenlet.pop(here, None)
            if self.readers.pid != os.getpid():
                # Rule 3. As the child of a thread that forks: it ends with its only thread, with exit code 0
                # after an error too, and without a flush, since the buffers are copies of the parent's.
                os._exit(0)

    def is_alive(self) -> bool:
        """Whether its handler runs, as `Thread.is_alive()`."""
        return self._portal is not None

    def wait(self, async_fn: Callable[[*Ts], Coroutine[object, object, T]], *args: Unpack[Ts]) -> T:
        """Run `async_fn(*args)` in this task, from its greenlet; return its result."""
        assert self._portal is not None
        try:
            return self._portal.wait(async_fn(*args))
        except trio.Cancelled:
            self.was_cancelled = True
            raise

    def sleep(self, state: Input) -> None:
        """Sleep until something has arrived at a socket. In the greenlet, and only if `state.quiet`."""
        portal, task = self._portal, self.trio_task
        if portal is None or SLEEP_MESSAGE is None:
            return self.wait(state.sleep, task)
        task.custom_sleep_data = state
        state.sleepers.append(task)
        try:
            portal.yield_(SLEEP_MESSAGE).unwrap()
        except trio.Cancelled:
            self.was_cancelled = True
            raise
        finally:
            state.sleepers.remove(task)

    def give_turn(self) -> None:
        """Let other tasks run. In the greenlet. Does not raise trio.Cancelled."""
        portal = self._portal
        if portal is None or TURN_MESSAGE is None:
            return self.wait(_give_turn)
        portal.yield_(TURN_MESSAGE)

    def stack(self) -> tuple[str, ...]:
        """Return the stack of the handler: one line a call ("file:line in function"), the outermost first."""
        root = None if self._portal is None else self._portal.root
        frame = None if root is None else root.gr_frame
        if frame is None:
            return ()
        found = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
        return tuple(f"{one.filename}:{one.lineno} in {one.name}" for one in reversed(found))


ROOTS.add(GreenTask._begin.__code__)


def readers_here() -> ReaderGroup:
    """Return the reader group of the calling trio run. In the trio thread."""
    try:
        return _readers.get()
    except LookupError:
        readers = ReaderGroup()
        _readers.set(readers)
        _reader_groups[:] = [known for known in _reader_groups if known() is not None]
        _reader_groups.append(weakref.ref(readers))
        # In this order, so that `end_all()` finds it, or this check finds that the interpreter ends.
        if _ending_process == readers.pid:
            readers.on_empty = _do_nothing
        return readers


def _forget_all() -> None:
    """Have no green request in the child of a fork: rule 3."""
    _by_greenlet.clear()
    _by_task.clear()
    for known in _reader_groups:
        readers = known()
        if readers is not None and readers.reader is not None:
            readers.reader.forget_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _do_nothing() -> None:
    """Serve as `on_empty` of a reader group that nothing waits for."""


def end_all() -> None:
    """Cancel all green requests of this process, and wait for their end: rule 4. Called by atexit."""
    global _ending_process
    _ending_process = os.getpid()
    for known in tuple(_reader_groups):
        readers = known()
        if readers is None or readers.pid != os.getpid():
            continue  # the run has ended, or it is the parent's, and this is the child of a fork
        empty = threading.Event()
        try:
            readers.token.run_sync_soon(_end, readers, empty.set)
        except trio.RunFinishedError:
            continue
        left = readers.size
        while not empty.wait(AT_EXIT_TIMEOUT) and readers.size < left:
            left = readers.size


def _end(readers: ReaderGroup, on_empty: Callable[[], object]) -> None:
    readers.on_empty = on_empty
    # An atomic copy: other runs, in threads of their own, may begin requests meanwhile.
    tasks = [task for task in tuple(_by_task.values()) if task.readers is readers]
    for task in tasks:
        task.scope.cancel(AT_EXIT)
    if not tasks:
        on_empty()


atexit.register(end_all)


async def _give_turn() -> None:
    await give_turn()


def report(error: BaseException) -> None:
    """Report what a handler has raised, as that of a thread."""
    told = (type(error), error, error.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(told))


def spawn(async_fn: Callable[[*Ts], Awaitable[object]], *args: Unpack[Ts], name: str) -> None:
    """Start a system task. In the trio thread."""
    spawn_system_task(async_fn, *args, name=name)


def current() -> GreenTask | None:
    """Return the green request that the calling code handles, or None in any other thread or task."""
    task = _by_greenlet.get(getcurrent())
    if task is None and _by_task and in_trio_run():
        return _by_task.get(current_task())
    return task


def here() -> GreenTask:
    """Return the green request that the calling code handles. Raises: RuntimeError if it handles none."""
    task = _by_greenlet.get(getcurrent()) or current()
    if task is None:
        raise RuntimeError(
            "a green request can only wait in the task that handles it, and this is another thread or task, "
            "or the child of a fork: hand the data over, or give the socket away as a plain one, "
            "socket.socket(fileno=request.detach())"
        )
    return task


def wait(async_fn: Callable[[*Ts], Awaitable[T]], *args: Unpack[Ts]) -> T:
    """Run `async_fn(*args)` in the task of the calling green handler; return its result.

    Raises: what it raises; trio.Cancelled when the request is cut; RuntimeError outside of a green handler.
    """

    async def call() -> T:
        return await async_fn(*args)

    return here().wait(call)


def sleep(seconds: float) -> None:
    """Sleep in a green handler for `seconds`, from 0 on, while other handlers run. A checkpoint.

    Raises: ValueError for less than 0 and for NaN; trio.Cancelled when the request is cut; RuntimeError
    outside of a green handler.
    """
    here().wait(trio.sleep, seconds)


def blocking(fn: Callable[[*Ts], T], *args: Unpack[Ts]) -> T:
    """Run the blocking call `fn(*args)` in a worker thread of trio, while other green handlers run; return
    its result.

    A cut of the request takes effect when `fn` has returned, since a thread cannot be ended. Raises: what
    `fn` raises; trio.Cancelled; RuntimeError outside of a green handler.
    """

    async def call() -> T:
        return await trio.to_thread.run_sync(fn, *args)

    return here().wait(call)
