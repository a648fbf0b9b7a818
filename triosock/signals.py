"""run(): a trio program that SIGTERM and SIGINT drain.

The rules:

1. **The first signal drains, the second cancels.** The first tells the outermost `DrainScope`, and with it
   every server; a second one, of either kind, cancels the whole program, and the process exits with 128 + its
   number, as a shell would report it. It gets through a blocked loop, too, and a third one ends a process
   that does not end when it is cancelled: see `_ending_signals.py`.
2. **The program ends with the grace period**: when it is over, and every server has reported, what is left of
   the program is cancelled too. A service manager that sends SIGKILL after its own patience must not be
   needed.
3. **A drain is a success**: `run` returns what the program returns, and the process exits with 0.
4. **Inspection changes nothing**: SIGUSR1 prints the living tree to stderr, or shows it to who has asked for
   it with ``python -m triosock top --pid``, and a control socket shows it, as long as the program lives, so
   also while it drains. The facade sets `looking` to what draws the tree, since this file does not import it.
5. **Whoever starts it sees that it listens**: see `_console.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import attrs
import trio

from ._console import Console, say_reports
from ._core.model.checks import check_seconds
from ._core.model.config import Timeouts
from ._core.model.options import check_call
from ._core.registry.drain_scope import DrainScope
from ._core.server.arguments import check_async
from ._ending_signals import EndingSignals
from ._worker import as_worker, is_worker, take_control
from .notify import call_notifying

if TYPE_CHECKING:
    from typing import TypeVarTuple, Unpack

    Args = TypeVarTuple("Args")


Result = TypeVar("Result")

#: Its default is to end the process, so nobody who has no use for it sends it.
LOOK: Final = getattr(signal, "SIGUSR1", None)


@attrs.define
class Looking:
    """What shows the living tree: prints it, serves it at a Unix socket, and answers who has asked for it by
    the number of this process.
    """

    show: Callable[[], object]
    serve: Callable[..., Awaitable[object]]
    requests: Callable[[], AbstractContextManager[InspectionRequests]]


class InspectionRequests(Protocol):
    """What is asked of this process."""

    def answer(self) -> bool:
        """Answer the request that is there; return whether there was one."""
        raise NotImplementedError


#: Set by the facade.
looking: Looking | None = None


def run(
    async_fn: Callable[[Unpack[Args]], Awaitable[Result]],
    *args: *Args,
    grace: float | None = None,
    idle_grace: float | None = None,
    delay: float | None = None,
    control: str | os.PathLike[str] | None = None,
    notify: bool = True,
    announce: bool = True,
    **options: Any,
) -> Result | None:
    """Run `async_fn(*args)` with trio.run; SIGTERM or SIGINT drains its servers, a second signal cancels
    everything, and SIGUSR1 prints the living tree to stderr (`triosock.observe.tree`).

    Args:
      grace: seconds from the first signal until what is left is cut, from 0 on, for every server, whatever
        its own `Timeouts.grace` is. None leaves each server its own; the rest of the program then has until
        the last server has ended, and 15 seconds at least.
      idle_grace, delay: as for `DrainScope.drain`; None leaves the first to each server, and has no delay.
      control: path of a Unix socket at which ``python -m triosock top`` can look, for the same user only; see
        `triosock.observe.serve_control`. None for no socket.
      notify: tell the service manager that the environment variable NOTIFY_SOCKET names, if there is one,
        when the program is ready and when it drains, and feed its watchdog; see `triosock.notify`.
      announce: say on stderr where each server of the program listens, and at the end the reports of those
        that a signal has ended; what the logger "triosock" writes at INFO is not said again. False: neither.
      options: those that `trio.run` takes; any others are passed to `async_fn`, so that
        ``triosock.run(triosock.serve_tcp, handler, 9999, host="::1")`` works.

    Returns: what `async_fn` returns; a `DrainReport` from `serve_*`. None if the program had to be cancelled
    at the end of the grace.

    Raises: what `async_fn` raises; SystemExit(128 + signal number) after a second signal. A third one, if the
    program is still there, ends the process as the system does by default, with nothing tidied up. Only in
    the main thread do signals arrive: RuntimeError elsewhere, and where trio or asyncio is running already.
    TypeError for an option that neither `run` nor `async_fn` has.
    """
    check_async("async_fn", async_fn, "args")
    _check_place()
    seconds, idle, wait = (
        None if value is None else check_seconds(value, name, zero=True)
        for name, value in (("grace", grace), ("idle_grace", idle_grace), ("delay", delay))
    )
    ours = {name: options.pop(name) for name in _OF_TRIO_RUN if name in options}
    check_call("triosock.run", _OF_RUN, async_fn, options)
    program = _Program(seconds, idle, wait, control, notify, announce)
    result: Result | None = None
    try:
        result = trio.run(program.main, async_fn, args, options, **ours)
    except BaseException as error:
        if program.killed_by is None or not _is_interrupt(error):
            raise
    if program.killed_by is not None:
        raise SystemExit(128 + program.killed_by)
    return result


def _check_place() -> None:
    """Raise RuntimeError, saying what to do instead, where a program cannot begin."""
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "run() starts trio, and trio runs here already: await the function itself, as in `await "
            "triosock.serve_tcp(handler, 9999)`, and call run() once, where the program begins"
        )
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "run() starts trio, and asyncio runs here already, which would stand still meanwhile: call "
            "triosock.run(…) instead of asyncio.run(…), where the program begins; in a notebook write "
            "%autoawait trio, and await the function itself; trio.run takes no notice of asyncio"
        )
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "run() must be called in the main thread, where signals arrive: take trio.run here"
        )


def _is_interrupt(error: BaseException) -> bool:
    """Whether nothing else than a KeyboardInterrupt came out."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_interrupt(one) for one in error.exceptions)
    return isinstance(error, KeyboardInterrupt)


#: Its own options, for those who look for one.
_OF_RUN: Final = ("grace", "idle_grace", "delay", "control", "notify", "announce")
_OF_TRIO_RUN: Final = (
    "clock",
    "instruments",
    "restrict_keyboard_interrupt_to_checkpoints",
    "strict_exception_groups",
)


class _Program:
    """One `run()`: the user's function, and the task that waits for signals."""

    def __init__(
        self,
        grace: float | None,
        idle_grace: float | None,
        delay: float | None,
        control: str | os.PathLike[str] | None,
        notify: bool,
        announce: bool,
    ) -> None:
        self._notify = notify
        self._announce = announce
        #: In a worker, where it listens is said by the parent.
        self._console = contextlib.nullcontext() if is_worker() or not announce else Console()
        self._grace = grace
        self._idle_grace = idle_grace
        self._delay = delay
        theirs, self._verbs = take_control()
        self._control = theirs if control is None else control
        self._everything = trio.CancelScope()
        self._scope = DrainScope()
        self._refused: BaseException | None = None
        self._signals: EndingSignals | None = None

    @property
    def killed_by(self) -> int | None:
        """The number of the second signal, if there was one."""
        return None if self._signals is None else self._signals.killed_by

    async def main(
        self, async_fn: Callable[..., Awaitable[Result]], args: tuple[object, ...], options: dict[str, object]
    ) -> Result | None:
        result: Result | None = None
        # A system task, and no nursery: what the user's function raises must come out as it is, not in a
        # group.
        listening = trio.CancelScope()
        ready = trio.Event()
        trio.lowlevel.spawn_system_task(self._listen, listening, ready)
        await ready.wait()
        if self._refused is not None:
            raise self._refused
        try:
            with self._everything, self._scope, self._console:
                if self._notify:
                    result = await call_notifying(
                        self._scope, as_worker(self._scope, self._everything, async_fn), args, options
                    )
                else:
                    result = await async_fn(*args, **options)
        finally:
            listening.cancel(reason="triosock: the program has ended")
            if self._announce:
                say_reports(self._scope)
        return result

    async def _listen(self, listening: trio.CancelScope, ready: trio.Event) -> None:
        async with trio.open_nursery() as nursery:

            def drain(number: int) -> None:
                if listening.cancel_called:
                    return  # the program ended before the loop got to it
                # Whether it drains already does not count: the parent of a worker may have told it.
                self._scope.drain(grace=self._grace, idle_grace=self._idle_grace, delay=self._delay)
                nursery.start_soon(self._end_at_deadline)

            def cancel(number: int) -> None:
                name = signal.Signals(number).name
                self._everything.cancel(reason=f"triosock: second signal, {name}")

            with listening, EndingSignals(drain, cancel) as self._signals:
                if self._control is not None:
                    await self._open_control(nursery, ready)
                ready.set()
                await self._keep_showing()
            nursery.cancel_scope.cancel(reason="triosock: the program has ended")

    async def _keep_showing(self) -> None:
        # Whoever has a use for it already keeps it.
        if LOOK is None or signal.getsignal(LOOK) is not signal.SIG_DFL:
            await trio.sleep_forever()
        else:
            assert looking is not None
            with trio.open_signal_receiver(LOOK) as arriving, looking.requests() as requests:
                async for _ in arriving:
                    if not requests.answer():
                        self._show()

    def _show(self) -> None:
        assert looking is not None
        try:
            looking.show()
        except Exception as error:  # whatever it is (a closed stderr, perhaps): to look must end nothing
            sys.excepthook(type(error), error, error.__traceback__)

    async def _open_control(self, nursery: trio.Nursery, ready: trio.Event) -> None:
        try:
            await nursery.start(self._serve_control, ready)
        except Exception as error:  # of all that can be wrong with a path: main() raises it
            self._refused = error

    async def _serve_control(self, ready: trio.Event, *, task_status: trio.TaskStatus[object]) -> None:
        assert looking is not None
        try:
            await looking.serve(self._control, verbs=self._verbs, task_status=task_status)
        except Exception as error:
            if not ready.is_set():
                raise
            # The program goes on without a window.
            sys.excepthook(type(error), error, error.__traceback__)

    async def _end_at_deadline(self) -> None:
        grace = Timeouts().grace if self._grace is None else self._grace
        await trio.sleep((self._delay or 0.0) + grace)
        await self._scope.wait_left()
        self._everything.cancel(reason="triosock: the grace is over")
