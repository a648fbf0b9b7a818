"""The log: events on the standard library's `logging`, under the logger "triosock", with a level for each
class.

    ERROR    a handler failed; an accept loop crashed; an observer failed; files of certificates were refused
    WARNING  out of descriptors or memory; the server is late, and sheds new connections; a connection was cut
             by the timeout of a request or of sending, or at the end of a grace
    INFO     a server started, was suspended or resumed, will drain, drains, or has drained; it sheds no
             longer; certificates were loaded again
    DEBUG    a connection opened, closed, was refused, or was idle for too long; a handshake finished, or
             failed; a peer broke the protocol, or disconnected; a limit or rate was reached; datagrams were
             dropped

An event that a peer alone can cause is never above WARNING, and one that it can cause at will without being
cut is at DEBUG, so that peers cannot fill the log. Every record has the event as its attribute `triosock`,
for log handlers that need the fields.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container
from typing import Final, final

from .._core.model.emitter import repr_of
from .._core.model.events import (
    AcceptFailed,
    Cause,
    CertificatesRefused,
    CertificatesReloaded,
    ConnectionClosed,
    ConnectionOpened,
    DatagramDropped,
    DatagramsLost,
    DatagramTruncated,
    DrainAnnounced,
    DrainFinished,
    DrainStarted,
    Event,
    HandlerFailed,
    HandshakeFinished,
    HandshakeRefused,
    LimitReached,
    ListenerClosed,
    ObserverFailed,
    RateReached,
    Refused,
    ServerClosed,
    ServerResumed,
    ServerStarted,
    ServerSuspended,
    SheddingEnded,
    SheddingStarted,
)
from .text import printable, text_of

#: The causes of ends that are logged as warnings: the server has cut a connection in the middle of its work.
#: The end of an idle connection, or of one that never sent a handshake, is no reason for a warning.
_LOUD: Final = frozenset({Cause.DRAIN, Cause.REQUEST, Cause.SEND})


def _opened(event: ConnectionOpened) -> tuple[int, str]:
    return logging.DEBUG, f"connection {event.connection} of {event.peer} opened"


def _closed(event: ConnectionClosed) -> tuple[int, str]:
    text = (
        f"connection {event.connection} of {event.peer} closed after {event.duration:.3f} s: {event.cause}, "
        f"{event.received} bytes received, {event.sent} sent"
    )
    if event.error is not None and event.cause is not Cause.FAILED:
        text += f" ({text_of(event.error)})"
    return logging.WARNING if event.cause in _LOUD else logging.DEBUG, text


def _handler_failed(event: HandlerFailed) -> tuple[int, str]:
    return logging.ERROR, f"handler failed on connection {event.connection} of {event.peer}"


def _accept_failed(event: AcceptFailed) -> tuple[int, str]:
    level = {"crash": logging.ERROR, "back off": logging.WARNING}.get(event.action, logging.DEBUG)
    then = f"{event.action} for {event.delay:g} s" if event.delay else event.action
    return level, f"accept on {event.address}: {event.error} ({then})"


def _handshake_finished(event: HandshakeFinished) -> tuple[int, str]:
    return (
        logging.DEBUG,
        f"connection {event.connection} of {event.peer}: "
        f"{event.tls_version or 'PROXY header'}, {event.cipher or 'no TLS'}",
    )


def _handshake_refused(event: HandshakeRefused) -> tuple[int, str]:
    why = "no handshake in time" if event.error is None else text_of(event.error)
    return (
        logging.DEBUG,
        f"connection {event.connection} of {event.peer}: {why}",
    )


def _certificates_reloaded(event: CertificatesReloaded) -> tuple[int, str]:
    until = time.strftime("%Y-%m-%d", time.gmtime(event.not_after))
    return logging.INFO, f"certificates loaded for {', '.join(event.names)}; valid until {until}"


def _drain_started(event: DrainStarted) -> tuple[int, str]:
    return (
        logging.INFO,
        f"drains: {event.active} connections, {event.idle} of them idle, {event.grace:.3g} s of grace",
    )


def _drain_finished(event: DrainFinished) -> tuple[int, str]:
    return logging.INFO, (
        f"drained in {event.duration:.2f} s: {event.finished} finished, {event.failed} failed, "
        f"{event.left} left, {event.cancelled} cancelled, {event.refused} refused"
    )


def _rate_reached(event: RateReached) -> tuple[int, str]:
    who = "a connection" if event.peer is None else f"a request of {event.peer}"
    what = "is refused" if event.delay is None else f"waits for {event.delay:.3g} s"
    return logging.DEBUG, f"{event.limit} is reached: {who} {what}"


_LINES: Final[dict[type[Event], Callable[..., tuple[int, str]]]] = {
    ServerStarted: lambda event: (logging.INFO, "listens on " + ", ".join(map(str, event.addresses))),
    ServerSuspended: lambda event: (logging.INFO, "suspended: new connections wait"),
    ServerResumed: lambda event: (logging.INFO, "resumed"),
    ListenerClosed: lambda event: (logging.DEBUG, f"listener on {event.address} closed"),
    AcceptFailed: _accept_failed,
    LimitReached: lambda event: (logging.DEBUG, f"full: {event.active} connections"),
    RateReached: _rate_reached,
    SheddingStarted: lambda event: (
        logging.WARNING,
        f"overloaded: {event.lag:.2f} s late, new connections are refused",
    ),
    SheddingEnded: lambda event: (
        logging.INFO,
        f"caught up after {event.duration:.2f} s, {event.refused} connections refused",
    ),
    Refused: lambda event: (logging.DEBUG, f"{event.peer} refused: {event.reason}"),
    ConnectionOpened: _opened,
    HandshakeFinished: _handshake_finished,
    HandshakeRefused: _handshake_refused,
    CertificatesReloaded: _certificates_reloaded,
    # Without the traceback, which is of this library and says less than the text.
    CertificatesRefused: lambda event: (logging.ERROR, f"certificates not taken: {event.error}"),
    HandlerFailed: _handler_failed,
    ConnectionClosed: _closed,
    DatagramDropped: lambda event: (logging.DEBUG, f"datagram of {event.peer} dropped: {event.reason}"),
    DatagramTruncated: lambda event: (logging.DEBUG, f"datagram of {event.peer} cut at {event.size} bytes"),
    DatagramsLost: lambda event: (
        logging.DEBUG,
        f"{event.count} datagrams to {event.address} lost in the kernel",
    ),
    DrainAnnounced: lambda event: (logging.INFO, f"will drain in {event.delay:.3g} s"),
    DrainStarted: _drain_started,
    DrainFinished: _drain_finished,
    ServerClosed: lambda event: (logging.DEBUG, "closed"),
    ObserverFailed: lambda event: (
        logging.ERROR,
        f"observer {repr_of(event.observer)} failed, and was taken off",
    ),
}


def line_of(event: Event) -> tuple[int, str] | None:
    """Return the level and the text of an event; None for events that are not logged. The text may contain
    characters that are not printable.
    """
    line = _LINES.get(type(event))
    return None if line is None else line(event)


#: The longest text of a line, in characters.
MAX_TEXT: Final = 1_000

#: Events that are only logged at DEBUG. They are not created unless the logger is enabled for it.
_ONLY_DEBUG: Final = (
    ConnectionOpened,
    DatagramDropped,
    DatagramsLost,
    DatagramTruncated,
    HandshakeFinished,
    HandshakeRefused,
    LimitReached,
    RateReached,
    Refused,
    ListenerClosed,
    ServerClosed,
)


@final
class LogObserver:
    """Writes events to a logger. Every server has one that writes to "triosock".

    Args: `logger`, a `logging.Logger`; None for the logger "triosock".

    If the logger is not enabled for DEBUG when the observer is made, it does not ask for the events of that
    level, so that they cost nothing: set the level before the server starts, or attach another observer later
    with `server.observers.add(LogObserver())`.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.logger: logging.Logger = logging.getLogger("triosock") if logger is None else logger
        quiet = () if self.logger.isEnabledFor(logging.DEBUG) else _ONLY_DEBUG
        self.wants: tuple[type[Event], ...] = tuple(kind for kind in _LINES if kind not in quiet)
        # The end of a connection is logged as a warning or at DEBUG: no event is created for the latter.
        self.wants_ends: Container[Cause] = _LOUD if quiet else frozenset(Cause)

    def on_event(self, event: Event, /) -> None:
        """Write one event; at ERROR with the traceback of its error, unless certificates were refused."""
        line = line_of(event)
        if line is None:
            return
        level, text = line
        if not self.logger.isEnabledFor(level):
            return
        has_traceback = level >= logging.ERROR and not isinstance(event, CertificatesRefused)
        error = getattr(event, "error", None) if has_traceback else None
        # Text from a peer (a path, a PROXY header, the text of an error) must not control a terminal.
        text = printable(text, MAX_TEXT)
        self.logger.log(level, "%s: %s", event.server, text, exc_info=error, extra={"triosock": event})
