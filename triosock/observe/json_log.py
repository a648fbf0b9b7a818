"""Records of `logging` as lines of JSON, with the names of the Elastic Common Schema: see `ecs.py`.

A line also has the fields of the record's event, the fields that an `AccessLog` has added, the error with its
traceback, the current trace and span if the program uses OpenTelemetry, and the values that the program has
given in ``extra=``, under ``labels.``.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final, final

from .._core.model.addresses import Address
from .._core.model.events import ConnectionEvent, Event
from .ecs import LONG, VERSION, address_fields, network_fields, timestamp, to_line
from .text import text_of

#: The places in the name of a class where a new word begins.
_WORDS: Final = re.compile(r"(?<!^)(?=[A-Z])")
#: Fields that are taken from the record itself, also if an `AccessLog` has added them.
_OF_THE_RECORD: Final = ("@timestamp", "message", "log.level", "process.pid", "ecs.version")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
#: Of records of triosock's. Those of others may use these names for something else.
_STANDARD_OF_OURS: Final = _STANDARD | {"triosock", "ecs"}


@final
class JsonFormatter(logging.Formatter):
    """A `logging.Formatter` that writes each record, of triosock and of any other logger, as a line of JSON.

    The names are those of ECS 8.11: ``@timestamp``, ``log.level``, ``message``, ``log.logger``,
    ``event.action``, ``client.ip``, ``error.stack_trace`` and so on, in one flat object.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        event = getattr(record, "triosock", None)
        is_ours = isinstance(event, Event)
        known = _STANDARD_OF_OURS if is_ours else _STANDARD
        fields: dict[str, object] = {
            "@timestamp": timestamp(record.created),
            "log.level": record.levelname.lower(),
            "message": record.getMessage(),
            "ecs.version": VERSION,
            "log.logger": record.name,
            "log.origin.file.name": record.filename,
            "log.origin.file.line": record.lineno,
            "process.pid": record.process,
            "process.thread.name": record.threadName,
            **self._error(record),
            **_event(event),
            **_trace(),
            **{f"labels.{name}": value for name, value in vars(record).items() if name not in known},
        }
        access: dict[str, object] = getattr(record, "ecs", {}) if is_ours else {}
        fields |= {name: value for name, value in access.items() if name not in _OF_THE_RECORD}
        return to_line(fields)

    def _error(self, record: logging.LogRecord) -> dict[str, object]:
        kind, error, _ = record.exc_info or (None, None, None)
        if kind is None or record.exc_info is None:
            return {}
        return {
            "error.type": kind.__name__,
            "error.message": text_of(error),
            # The end of a long traceback has the error and the innermost calls.
            "error.stack_trace": self.formatException(record.exc_info)[-LONG["error.stack_trace"] :],
        }


def _event(event: object) -> dict[str, object]:
    """Return the fields of the event that a record of triosock's own log is about."""
    if not isinstance(event, Event):
        return {}
    fields: dict[str, object] = {
        "event.action": _WORDS.sub("-", type(event).__name__).lower(),
        "service.name": event.server,
    }
    if isinstance(event, ConnectionEvent):
        fields["triosock.connection"] = event.connection
    peer: Address | None = getattr(event, "peer", None)
    if peer is not None:
        fields |= address_fields("client", peer) | network_fields(peer)
    cause = getattr(event, "cause", None) or getattr(event, "reason", None)
    return fields if cause is None else {**fields, "event.reason": str(cause)}


def _trace() -> dict[str, object]:
    """Return the current trace and span if the program uses OpenTelemetry; nothing is imported here."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context: Any = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace.id": f"{context.trace_id:032x}", "span.id": f"{context.span_id:016x}"}
