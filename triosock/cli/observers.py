"""Opens the observers before endpoints are served, and closes them afterwards."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from .. import Observer
from ..observe import AccessLog, LineWriter, watch_blocked_loop
from .arguments import OperatingSystemError, UsageError
from .observing import Observing


async def open_observers(observing: Observing, stack: contextlib.AsyncExitStack) -> list[Observer]:
    """Open the observers, which are closed with `stack`; return those that each server gets.

    Raises: OperatingSystemError if a file cannot be opened; UsageError if an extra is not installed.
    """
    observers: list[Observer] = []
    if observing.access_log is not None:
        if observing.access_log == "-" and sys.__stdout__ is None:
            # The number 1 may be another file's by now, or a socket's.
            raise OperatingSystemError("access_log: standard output was closed when this program was started")
        try:
            where = 1 if observing.access_log == "-" else observing.access_log
            writer = await stack.enter_async_context(LineWriter(where))
        except OSError as error:
            raise OperatingSystemError(f"{observing.access_log}: {error.strerror or error}") from None
        format, of = observing.access_log_format, observing.access_log_of
        observers.append(AccessLog(writer, format=format, of=of))
    if observing.opentelemetry:
        observers.append(await stack.enter_async_context(_telemetry()))
    if observing.blocked_after is not None:
        stack.enter_context(watch_blocked_loop(observing.blocked_after))
    return observers


def _telemetry() -> Any:
    try:
        from ..observe.telemetry import OpenTelemetryObserver
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("opentelemetry"):
            raise
        raise UsageError(str(error)) from None
    return OpenTelemetryObserver()
