"""Texts of server events: those of the log, and texts for requests, which are not logged."""

from __future__ import annotations

from ..._core.model.emitter import repr_of
from ..._core.model.events import ConnectionEvent, Event, RequestFinished, RequestStarted
from ..log import line_of
from ..text import printable


def told(event: Event) -> str:
    """Return the text of an event, in one line of printable characters."""
    if isinstance(event, RequestFinished):
        text = f"the request of connection {event.connection} is done: {event.cause}"
    elif isinstance(event, RequestStarted):
        text = f"a request of connection {event.connection} begins"
    elif isinstance(event, ConnectionEvent) and (error := getattr(event, "error", None)) is not None:
        line = line_of(event)
        text = f"{line[1] if line else type(event).__name__}: {repr_of(error)}"
    else:
        line = line_of(event)
        text = line[1] if line else type(event).__name__
    return printable(text)
