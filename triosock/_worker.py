"""What `triosock.run` does in a process that the parent of `triosock.serve_workers` has started: it obeys the
parent, and reports.

The rules:

1. **A line in the lifeline only begins a drain, also when repeated.** A service manager may send SIGTERM to
   the parent and to each worker at once; the parent's line is then the second request, and must not cancel.
2. **The end of the lifeline is the end of the parent**, and so of this program, at once.
3. **The reports of its servers are the last message of a worker.**

An ordinary program has no lifeline, and nothing of this happens.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, TypeVar

import attrs
import trio

from ._core.model.emitter import default_observers
from ._core.model.events import Event, RequestFinished
from ._core.registry.drain_report import DrainReport
from ._core.registry.drain_scope import DrainScope
from .notify import Notifier, current_notifier

Result = TypeVar("Result")

#: Names of the fields that a worker adds to the messages of sd_notify(3), and of variables of its
#: environment.
JOINED: Final = "X_TRIOSOCK_JOINED"
REPORTS: Final = "X_TRIOSOCK_REPORTS"
RECYCLE: Final = "X_TRIOSOCK_RECYCLE"
LIFELINE: Final = "TRIOSOCK_LIFELINE"
CONTROL: Final = "TRIOSOCK_CONTROL"
MAX_REQUESTS: Final = "TRIOSOCK_MAX_REQUESTS"
#: The counts of a report.
COUNTS: Final = tuple(one.name for one in attrs.fields(DrainReport) if type(one.default) is int)
#: The longest last message: half of what Linux allows by default to send in one datagram
#: (net.core.wmem_default, 212,992), which counts some overhead too.
_MOST_BYTES: Final = 100_000
#: Seconds that the parent may take for the last message.
_REPORT_WITHIN: Final = 1.0


def take_control() -> tuple[str | None, bool]:
    """Return where a worker shows itself to its parent, once, and whether it obeys there; None if nowhere."""
    verbs, _, name = os.environ.pop(CONTROL, "").partition("@")
    return ("\0" + name if name else None), verbs == "verbs"


def is_worker() -> bool:
    """Whether this process is a worker, and its program has not begun."""
    return os.environ.get(LIFELINE, "").isdecimal()


def as_worker(
    scope: DrainScope, everything: trio.CancelScope, async_fn: Callable[..., Awaitable[Result]]
) -> Callable[..., Awaitable[Result]]:
    """Return `async_fn` with a worker's part around it, if this process is a worker; `async_fn` itself if
    not.

    Args: `scope`, the outermost one of the program: the parent drains it. `everything` is cancelled when the
    grace that the parent gave is over and no server is left, and when the parent is gone.
    """
    lifeline = os.environ.pop(LIFELINE, "")
    most = os.environ.pop(MAX_REQUESTS, "")
    if not lifeline.isdecimal():
        return async_fn
    os.set_inheritable(int(lifeline), False)
    os.set_blocking(int(lifeline), False)

    @functools.wraps(async_fn)
    async def work(*args: Any, **options: Any) -> Result:
        notifier = current_notifier()
        listening = trio.CancelScope()
        stream = trio.lowlevel.FdStream(int(lifeline))
        trio.lowlevel.spawn_system_task(_listen, stream, scope, everything, listening)
        try:
            with _counting(most, notifier):
                if notifier is not None:
                    await notifier.send(**{JOINED: 1})
                return await async_fn(*args, **options)
        finally:
            listening.cancel(reason="triosock: the program has ended")
            if notifier is not None:
                with trio.move_on_after(_REPORT_WITHIN, shield=True):
                    await notifier.send(**{REPORTS: format_reports(scope.reports)})

    return work


@contextlib.contextmanager
def _counting(most: str, notifier: Notifier | None) -> Iterator[None]:
    """Count the requests of this process, if the parent has said how many are the most."""
    if notifier is None or not most.isdecimal():
        yield
        return
    observe = _Counter(int(most), notifier).observe
    default_observers.append(observe)
    try:
        yield
    finally:
        default_observers.remove(observe)


async def _listen(
    lifeline: trio.lowlevel.FdStream,
    scope: DrainScope,
    everything: trio.CancelScope,
    listening: trio.CancelScope,
) -> None:
    """Do what the parent says, until it is gone."""
    buffer = b""
    async with lifeline:
        with listening:
            async with trio.open_nursery() as nursery:
                while data := await lifeline.receive_some():
                    *lines, buffer = (buffer + data).split(b"\n")
                    for line in lines:
                        verb, *values = line.decode().split()
                        if verb == "drain":
                            grace, idle_grace, delay = (None if one == "-" else float(one) for one in values)
                            scope.drain(grace=grace, idle_grace=idle_grace, delay=delay)
                            nursery.start_soon(_end_at_deadline, scope, everything)
                        elif verb == "end":
                            everything.cancel(reason="triosock: the parent ends everything")
                everything.cancel(reason="triosock: the parent is gone")


async def _end_at_deadline(scope: DrainScope, everything: trio.CancelScope) -> None:
    """As after a signal to `triosock.run`: the grace is the end of the program too."""
    await trio.sleep_until(scope.deadline)
    await scope.wait_left()
    everything.cancel(reason="triosock: the grace is over")


def format_drain(grace: float, idle_grace: float | None, delay: float) -> str:
    """Return the line of the lifeline that drains."""
    return f"drain {grace:.3f} {'-' if idle_grace is None else f'{idle_grace:.3f}'} {delay:.3f}"


class _Counter:
    """An observer that tells the parent, once, when so many requests are done."""

    wants: tuple[type[Event], ...] = (RequestFinished,)

    def __init__(self, most: int, notifier: Notifier) -> None:
        self._left = most
        self._notifier = notifier
        self._thread = threading.get_ident()
        self._has_told = False

    def observe(self) -> _Counter:
        return self

    def on_event(self, event: Event) -> None:
        if threading.get_ident() != self._thread:
            return
        self._left -= 1
        if self._left <= 0 and not self._has_told:
            # If the parent's queue is full, the next request tells.
            self._has_told = self._notifier.send_nowait(**{RECYCLE: "requests"})


# Reports on their way


def format_reports(reports: tuple[tuple[str, DrainReport], ...]) -> str:
    """Return the reports of servers, with the names of these, as one line that fits into a datagram. Of long
    stacks only the innermost calls are in it, and if need be none of the slowest; the counts always are.
    """
    for calls in (None, 20, 1):
        text = json.dumps([{"server": name, **_fields(report, calls)} for name, report in reports])
        if len(text) <= _MOST_BYTES:
            return text
    return json.dumps([{"server": name, **_fields(report, 1), "slowest": []} for name, report in reports])


def _fields(report: DrainReport, calls: int | None) -> dict[str, object]:
    return {
        **{name: getattr(report, name) for name in COUNTS},
        "duration": report.duration,
        "drained": report.drained,
        "causes": {str(cause): count for cause, count in report.causes.items()},
        "slowest": [
            {
                "peer": str(one.peer),
                "age": one.age,
                "phase": one.phase,
                "stack": list(one.stack[-calls:] if calls else one.stack),
            }
            for one in report.slowest
        ],
    }


def parse_reports(text: str) -> Iterator[dict[str, Any]]:
    """Return what `format_reports` was given, as plain values. Raises: ValueError."""
    for one in json.loads(text):
        yield dict(one)
