"""Spans by OpenTelemetry's API, from events: one for each connection, with its requests as children.

The invariants:

1. **A span is started in the task of the handler, and is current there**: a span that the handler starts is a
   child of its request, or of its connection if no request is in progress. A span that the handler has made
   current itself stays current.
2. **A span is ended in a separate thread**, so that no connection waits for processors and exporters.
3. Memory is bounded by the number of open connections, as in `ends.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, final

import attrs
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from .._core.model.addresses import Address, MemoryAddress, TcpAddress, UdpAddress, UnixAddress
from .._core.model.events import (
    Cause,
    ConnectionClosed,
    ConnectionEvent,
    ConnectionOpened,
    Event,
    HandlerStarted,
    HandshakeFinished,
    RequestFinished,
    RequestStarted,
    ServerClosed,
)
from .background_thread import BackgroundThread
from .ecs import OUTCOMES
from .text import printable

WANTS: Final[tuple[type[Event], ...]] = (
    ConnectionOpened,
    HandshakeFinished,
    HandlerStarted,
    RequestStarted,
    RequestFinished,
    ConnectionClosed,
    ServerClosed,
)
#: The longest text of an attribute that a peer can choose, in characters.
MAX_TEXT: Final = 256

#: The key under which a context has the span of its request.
_REQUEST: Final = context.create_key("triosock-request")

Attributes = dict[str, AttributeValue]


@attrs.define(eq=False)
class _Open:
    """The spans of a connection: its own (`span`, None for a datagram), that of the request in progress or of
    the last one, and the context from before that request.
    """

    span: Span | None
    attributes: Attributes
    request: Span | None = None
    before: Context | None = None
    requests: int = 0


@final
class Spans:
    """Starts spans with `tracer`, and ends them in `thread`."""

    def __init__(self, tracer: Tracer, thread: BackgroundThread) -> None:
        self._tracer = tracer
        self._thread = thread
        self._open: dict[tuple[str, int], _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, ServerClosed):
            for key in [one for one in self._open if one[0] == event.server]:
                del self._open[key]
        elif isinstance(event, ConnectionEvent) and type(event) in _TAKE:
            _TAKE[type(event)](self, event, (event.server, event.connection))

    def _on_opened(self, event: ConnectionOpened, key: tuple[str, int]) -> None:
        attributes = {
            **_base(event),
            **_address("network.peer", event.peer),
            **_address("network.local", event.local),
            **_address("server", event.local),
        }
        # A root: the context here is that of the task that started the server.
        span = self._tracer.start_span("connection", Context(), SpanKind.SERVER, attributes)
        self._open[key] = _Open(span, attributes)

    def _on_handshake(self, event: HandshakeFinished, key: tuple[str, int]) -> None:
        entry = self._open.get(key)
        if entry is None or entry.span is None:
            return
        entry.attributes |= _address("client", event.peer)
        added = _address("client", event.peer)
        if event.tls_version is not None:
            protocol, _, version = event.tls_version.partition("v")
            added |= {"tls.protocol.name": protocol.lower()}
            added |= {"tls.protocol.version": version} if version else {}  # of DTLS it is not known
            added |= {"tls.cipher": event.cipher} if event.cipher else {}
            added |= {"tls.next_protocol": event.alpn} if event.alpn else {}
        entry.span.set_attributes(added)

    def _on_handler(self, event: HandlerStarted, key: tuple[str, int]) -> None:
        entry = self._open.get(key)
        if entry is not None and entry.span is not None:
            context.attach(trace.set_span_in_context(entry.span))

    def _on_request(self, event: RequestStarted, key: tuple[str, int]) -> None:
        entry = self._open.get(key)
        if entry is None:
            entry = self._open[key] = _Open(None, {**_base(event), **_address("network.peer", event.peer)})
        now = context.get_current()
        current = trace.get_current_span(now)
        if context.get_value(_REQUEST, now) is current and entry.span is not None:
            # The request has ended, and the contexts that the handler entered within it are left.
            now, current = trace.set_span_in_context(entry.span, now), entry.span
        name, around = "request", now
        if entry.span is None:
            # The current context is that of the task that started the server.
            name, around = "datagram", Context()
        elif _trace_of(current) != _trace_of(entry.span):
            around = trace.set_span_in_context(entry.span, now)
        span = self._tracer.start_span(name, around, SpanKind.SERVER, entry.attributes)
        entry.request, entry.before = span, now
        entry.requests += 1
        context.attach(context.set_value(_REQUEST, span, trace.set_span_in_context(span, now)))

    def _on_request_end(self, event: RequestFinished, key: tuple[str, int]) -> None:
        entry = self._open.get(key)
        if entry is None or entry.request is None:
            return
        if trace.get_current_span() is entry.request and entry.before is not None:
            context.attach(entry.before)
        self._end(entry.request, event.cause, None, {})
        entry.before = None
        if entry.span is None:
            del self._open[key]

    def _on_closed(self, event: ConnectionClosed, key: tuple[str, int]) -> None:
        entry = self._open.pop(key, None)
        if entry is None or entry.span is None:
            return
        attributes: Attributes = {
            "triosock.bytes.received": event.received,
            "triosock.bytes.sent": event.sent,
            "triosock.requests": entry.requests,
        }
        self._end(entry.span, event.cause, event.error, attributes)

    def _end(self, span: Span, cause: Cause, error: BaseException | None, attributes: Attributes) -> None:
        attributes["triosock.cause"] = str(cause)
        self._thread.put(_end, span, cause, error, attributes, time.time_ns())


def _trace_of(span: Span) -> int:
    return span.get_span_context().trace_id


def _end(span: Span, cause: Cause, error: BaseException | None, attributes: Attributes, now: int) -> None:
    """End a span, in the thread; also if the SDK fails to record the exception, whose `str()` may raise."""
    try:
        _describe(span, cause, error, attributes, now)
    finally:
        span.end(now)


def _describe(
    span: Span, cause: Cause, error: BaseException | None, attributes: Attributes, now: int
) -> None:
    if OUTCOMES.get(cause, "failure") == "failure":
        attributes["error.type"] = str(cause) if error is None else type(error).__qualname__
        span.set_status(Status(StatusCode.ERROR, str(cause)))
    span.set_attributes(attributes)
    if error is not None and cause is Cause.FAILED:
        span.record_exception(error, timestamp=now)


def _base(event: ConnectionOpened | RequestStarted) -> Attributes:
    peer = event.peer
    attributes: Attributes = {
        "triosock.server": event.server,
        "triosock.connection": event.connection,
        **_address("client", peer),
    }
    match peer:
        case MemoryAddress():
            return attributes
        case UnixAddress():
            return {**attributes, "network.transport": "unix"}
    version = "ipv6" if ":" in peer.host else "ipv4"
    transport = "tcp" if isinstance(peer, TcpAddress) else "udp"
    return {**attributes, "network.transport": transport, "network.type": version}


def _address(side: str, address: Address) -> Attributes:
    """Return the attributes of an address, which begin with `side` ("client", "server", "network.peer",
    "network.local"). The address of a Unix socket is its path, as the conventions specify.
    """
    if isinstance(address, (TcpAddress, UdpAddress)):
        return {f"{side}.address": printable(address.host, MAX_TEXT), f"{side}.port": address.port}
    name = address.path if isinstance(address, UnixAddress) else address.name
    return {f"{side}.address": printable(name.replace("\0", "@", 1), MAX_TEXT)} if name else {}


_TAKE: Final[dict[type[Event], Callable[[Spans, Any, tuple[str, int]], None]]] = {
    ConnectionOpened: Spans._on_opened,
    HandshakeFinished: Spans._on_handshake,
    HandlerStarted: Spans._on_handler,
    RequestStarted: Spans._on_request,
    RequestFinished: Spans._on_request_end,
    ConnectionClosed: Spans._on_closed,
}
