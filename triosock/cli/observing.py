"""What `triosock serve` tells, beside its log: an access log, traces, and who blocks the loop."""

from __future__ import annotations

import contextlib
import logging
from typing import Any, Final, final

import attrs

from .. import Observer
from .._core.model.config import check_seconds
from ..observe import AccessLog, JsonFormatter, LineWriter, watch_blocked_loop
from ..observe.access_log import parse_format
from ..observe.ends import KINDS, Kind
from .arguments import MachineRefused, Mistake

LOG_FORMATS: Final = ("text", "json")


@final
@attrs.frozen(kw_only=True)
class Observing:
    """What is told, and where. The names of the fields are those in the section [observe] of a file."""

    log_format: str = "text"
    access_log: str | None = None
    access_log_format: str | None = None
    access_log_of: Kind = "connections"
    blocked_after: float | None = None
    opentelemetry: bool = False

    def __attrs_post_init__(self) -> None:
        if self.log_format not in LOG_FORMATS:
            raise ValueError(f"log_format must be one of {', '.join(LOG_FORMATS)}, not {self.log_format!r}")
        if self.access_log_of not in KINDS:
            raise ValueError(f"access_log_of must be one of {', '.join(KINDS)}, not {self.access_log_of!r}")
        if self.access_log_format not in (None, "json"):
            parse_format(self.access_log_format)
        if self.blocked_after is not None:
            check_seconds(self.blocked_after, "blocked_after")

    def log_handler(self, number: str) -> logging.Handler:
        """Return the handler of the log, on stderr; `number` says which worker this is, if it is one."""
        handler = logging.StreamHandler()
        text = logging.Formatter(f"%(asctime)s %(levelname)s {number}%(message)s")
        handler.setFormatter(JsonFormatter() if self.log_format == "json" else text)
        return handler

    async def open(self, stack: contextlib.AsyncExitStack) -> list[Observer]:
        """Open what is told until `stack` is left; return the observers that each server is to have.

        Raises: MachineRefused if a file cannot be opened; Mistake if an extra is not installed.
        """
        observers: list[Observer] = []
        if self.access_log is not None:
            try:
                where = 1 if self.access_log == "-" else self.access_log
                writer = await stack.enter_async_context(LineWriter(where))
            except OSError as error:
                raise MachineRefused(f"{self.access_log}: {error.strerror or error}") from None
            observers.append(AccessLog(writer, format=self.access_log_format, of=self.access_log_of))
        if self.opentelemetry:
            observers.append(await stack.enter_async_context(_telemetry()))
        if self.blocked_after is not None:
            stack.enter_context(watch_blocked_loop(self.blocked_after))
        return observers


def _telemetry() -> Any:
    try:
        from ..observe.telemetry import OpenTelemetryObserver
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("opentelemetry"):
            raise
        raise Mistake("opentelemetry needs the extra: pip install 'triosock[opentelemetry]'") from None
    return OpenTelemetryObserver()
