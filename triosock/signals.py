"""run(): a trio program that SIGTERM and SIGINT drain.

The rules:

1. **The first signal drains, the second cancels.** The first tells the outermost `DrainScope`, and with it
   every server; a second one, of either kind, cancels the whole program, and the process exits with 128 + its
   number, as a shell would report it.
2. **The grace is the end**: when it is over, and every server has said how its drain went, what is left of
   the program is cancelled too. A service manager that sends SIGKILL after its own patience must not be
   needed.
3. **A drain is a success**: `run` returns what the program returns, and the process exits with 0.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from ._core.drain import DrainScope
from ._core.limits import Timeouts, check_seconds
from ._core.serve import check_async

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    Args = TypeVarTuple("Args")

Result = TypeVar("Result")

SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT") if hasattr(signal, name))


def run(
    async_fn: Callable[[Unpack[Args]], Awaitable[Result]],
    *args: Unpack[Args],
    grace: float | None = None,
    **options: Any,
) -> Result | None:
    """Run `async_fn(*args)` with trio.run; SIGTERM or SIGINT drains its servers, a second signal cancels
    everything.

    Args:
      grace: seconds from the first signal until what is left is cut, from 0 on; None for 15, the default of
        `Timeouts.grace`. It also tightens the grace of servers that would have more.
      options: those that `trio.run` takes; any others are passed to `async_fn`, so that
        ``triosock.run(triosock.serve_tcp, handler, 9999, host="::1")`` works.

    Returns: what `async_fn` returns; a `DrainReport` from `serve_*`. None if the program had to be cancelled
    at the end of the grace. The reports of all servers that a signal ended are printed to stderr.

    Raises: what `async_fn` raises; SystemExit(128 + signal number) after a second signal. Only in the main
    thread do signals arrive: RuntimeError elsewhere.
    """
    check_async("async_fn", async_fn, "args")
    seconds = Timeouts().grace if grace is None else check_seconds(grace, "grace", zero=True)
    ours = {name: options.pop(name) for name in _OF_TRIO_RUN if name in options}
    program = _Program(seconds)
    result: Result | None = trio.run(program.main, async_fn, args, options, **ours)
    if program.killed_by is not None:
        raise SystemExit(128 + program.killed_by)
    return result


_OF_TRIO_RUN: Final = (
    "clock",
    "instruments",
    "restrict_keyboard_interrupt_to_checkpoints",
    "strict_exception_groups",
)


class _Program:
    """One `run()`: the user's function, and the task that waits for signals."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._everything = trio.CancelScope()
        self._scope = DrainScope()
        self.killed_by: int | None = None

    async def main(
        self, async_fn: Callable[..., Awaitable[Result]], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Result | None:
        result: Result | None = None
        # A system task, and no nursery: what the user's function raises must come out as it is, not in a
        # group.
        listening = trio.CancelScope()
        ready = trio.Event()
        trio.lowlevel.spawn_system_task(self._listen, listening, ready)
        await ready.wait()
        try:
            with self._everything, self._scope:
                result = await async_fn(*args, **options)
        finally:
            listening.cancel(reason="triosock: the program has ended")
        for name, report in self._scope.reports:
            print(f"{name}: {report}", file=sys.stderr)
        return result

    async def _listen(self, listening: trio.CancelScope, ready: trio.Event) -> None:
        with trio.open_signal_receiver(*SIGNALS) as arriving, listening:
            ready.set()
            async with trio.open_nursery() as nursery:
                async for number in arriving:
                    if self._scope.draining:
                        self.killed_by = number
                        self._everything.cancel(
                            reason=f"triosock: second signal, {signal.Signals(number).name}"
                        )
                    else:
                        self._scope.drain(grace=self._grace)
                        nursery.start_soon(self._end_at_deadline)

    async def _end_at_deadline(self) -> None:
        await trio.sleep_until(self._scope.deadline)
        await self._scope.wait_left()
        self._everything.cancel(reason="triosock: the grace is over")
