"""The observability options of `triosock serve`: log, access log, traces, and the blocked-loop watch."""

from __future__ import annotations

import logging
import logging.handlers
import os
from typing import Final, final

import attrs

from .._core.model.checks import check_seconds
from ..observe import JsonFormatter
from ..observe.access_log import parse_format
from ..observe.ends import KINDS, Kind

#: The socket of syslog(3).
SYSLOG: Final = "/dev/log"
LOG_FORMATS: Final = ("text", "json")


@final
@attrs.frozen(kw_only=True)
class Observing:
    """The section [observe] of a configuration file, whose keys are the names of these fields."""

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
        if self.access_log is not None:
            file_path(self.access_log)
        if self.access_log_format not in (None, "json"):
            parse_format(self.access_log_format)
        if self.blocked_after is not None:
            check_seconds(self.blocked_after, "blocked_after")

    def log_handler(self, number: str, *, has_stderr: bool = True) -> logging.Handler:
        """Return the log handler: to stderr, or to syslog(3) if there is no stderr for it.

        Args: `number`, the prefix of each line, with the number of the worker.
        """
        handler = logging.StreamHandler() if has_stderr else _syslog_handler()
        if self.log_format == "json":
            handler.setFormatter(JsonFormatter())
        elif has_stderr:  # syslog has the time itself
            handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {number}%(message)s"))
        return handler


def file_path(word: str) -> str:
    """Return `word` if it can be the path of a file. Raises: ValueError."""
    if not word or "\0" in word:
        raise ValueError(f"the path of a file is one or more characters, none of them zero, not {word!r}")
    return word


def _syslog_handler() -> logging.Handler:
    if not os.path.exists(SYSLOG):
        return logging.NullHandler()
    handler = logging.handlers.SysLogHandler(SYSLOG)
    handler.ident = "triosock: "
    return handler
