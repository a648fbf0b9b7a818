"""run(): a trio program that SIGTERM and SIGINT drain.

The rules:

1. **The first signal drains, the second cancels.** The first drains the outermost `DrainScope`, and with it
   every server; a second one, of either kind, cancels the whole program, and the process exits with 128 + its
   number, as a shell would report it. The second one works also while the loop is blocked, and a third one
   ends a process that cancellation does not end: see `_ending_signals.py`.
2. **The program ends with the grace period**: when it is over, and every server has reported, the rest of the
   program is cancelled too. So no service manager needs to send SIGKILL.
3. **A drain is a success**: `run` returns what the program returns, and the process exits with 0.
4. **Inspection changes nothing**: SIGUSR1 prints the living tree to stderr, or sends it to ``python -m
   triosock top --pid``; a control socket shows it as long as the program runs, also during a drain. This file
   does not import what draws the tree: the facade sets `looking`.
5. **It prints where it listens**: see `_console.py`.
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

#: By default it ends the process, so it is sent only to programs that handle it.
LOOK: Final = getattr(signal, "SIGUSR1", None)


@attrs.define
class Looking:
    """Functions that show the living tree: print it, serve it at a Unix socket, and answer `top --pid`."""

    show: Callable[[], object]
    serve: Callable[..., Awaitable[object]]
    requests: Callable[[], AbstractContextManager[InspectionRequests]]


class InspectionRequests(Protocol):
    """Requests of `top --pid`."""

    def answer(self) -> bool:
        """Answer a pending request; return whether there was one."""
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
      grace: seconds, from 0 on, from the first signal until the rest is cut, for every server, in place of
        its own `Timeouts.grace`. None: each server keeps its own, and the rest of the program has until the
        last server has ended, and at least 15 seconds.
      idle_grace, delay: as for `DrainScope.drain`; None leaves the first to each server, and has no delay.
      control: path of a Unix socket at which ``python -m triosock top`` can look, for the same user only; see
        `triosock.observe.serve_control`. None for no socket.
      notify: tell the service manager that the environment variable NOTIFY_SOCKET names, if there is one,
        when the program is ready and when it drains, and feed its watchdog; see `triosock.notify`.
      announce: print on stderr where each server of the program listens, and at the end the reports of those
        that a signal has ended, unless the logger "triosock" writes them at INFO. False: neither.
      options: those that `trio.run` takes; any others are passed to `async_fn`, so that
        ``triosock.run(triosock.serve_tcp, handler, 9999, host="::1")`` works.

    Returns: what `async_fn` returns; a `DrainReport` from `serve_*`. None if the program had to be cancelled
    at the end of the grace.

    Raises: what `async_fn` raises; SystemExit(128 + signal number) after a second signal. A third one, if the
    program still runs, ends the process by the system's default action, without cleanup. RuntimeError outside
    of the main thread, where no signals arrive, and where trio or asyncio is running already. TypeError for
    an option that neither `run` nor `async_fn` has.
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
    """Raise RuntimeError, which says what to do instead, if run() cannot start trio here."""
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
    """Whether the error is a KeyboardInterrupt, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_interrupt(one) for one in error.exceptions)
    return isinstance(error, KeyboardInterrupt)


#: The options of `run`, named in the error about an unknown one.
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
        #: A worker's parent prints where it listens.
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
                # Also if it drains already: the parent of a worker may have drained it.
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
        # A handler that the program has set for it is kept.
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
        except Exception as error:  # any (a closed stderr, perhaps): inspection must end nothing
            sys.excepthook(type(error), error, error.__traceback__)

    async def _open_control(self, nursery: trio.Nursery, ready: trio.Event) -> None:
        try:
            await nursery.start(self._serve_control, ready)
        except Exception as error:  # of many kinds, for a bad path: main() raises it
            self._refused = error

    async def _serve_control(self, ready: trio.Event, *, task_status: trio.TaskStatus[object]) -> None:
        assert looking is not None
        try:
            await looking.serve(self._control, verbs=self._verbs, task_status=task_status)
        except Exception as error:
            if not ready.is_set():
                raise
            # The program goes on without its control socket.
            sys.excepthook(type(error), error, error.__traceback__)

    async def _end_at_deadline(self) -> None:
        grace = Timeouts().grace if self._grace is None else self._grace
        await trio.sleep((self._delay or 0.0) + grace)
        await self._scope.wait_left()
        self._everything.cancel(reason="triosock: the grace is over")
