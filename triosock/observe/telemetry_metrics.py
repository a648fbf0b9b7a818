"""Metrics by OpenTelemetry's API, from events. No attribute contains a peer, so that clients cannot create
time series.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from opentelemetry.metrics import Meter

from .._core.model.events import (
    AcceptFailed,
    ConnectionClosed,
    ConnectionOpened,
    DatagramDropped,
    Event,
    Refused,
    RequestFinished,
)
from .active import Active
from .ecs import OUTCOMES

#: In seconds: the bounds that the semantic conventions advise for durations of requests, and four more for
#: long connections.
BOUNDS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    60,
    300,
    1800,
    7200,
)


@final
class Instruments:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, says: str) -> Any:
            bounds = list(BOUNDS)
            return meter.create_histogram(name, "s", says, explicit_bucket_boundaries_advisory=bounds)

        self._active = meter.create_up_down_counter(
            "triosock.connection.active", "{connection}", "Connections that are being served"
        )
        self._open = Active()
        self._connection = seconds("triosock.connection.duration", "How long connections lasted")
        self._request = seconds("triosock.request.duration", "How long requests took")
        self._bytes = meter.create_counter(
            "triosock.network.io", "By", "Bytes of connections, counted when they end"
        )
        self._refused = meter.create_counter(
            "triosock.connection.refused", "{connection}", "Connections turned away"
        )
        self._dropped = meter.create_counter(
            "triosock.datagram.dropped", "{datagram}", "Datagrams that were not handled"
        )
        self._accept_errors = meter.create_counter(
            "triosock.accept.errors", "{error}", "Errors of accept, by what was done"
        )

    def take(self, event: Event) -> None:
        """Update the metrics for one event."""
        take = TAKE.get(type(event))
        if take is not None:
            take(self, event)

    def close(self) -> None:
        """Take off the connections that are still open, whose ends are not measured."""
        for server, number in self._open.close().items():
            self._active.add(-number, {"triosock.server": server})

    def _on_opened(self, event: ConnectionOpened) -> None:
        if self._open.begin(event):
            self._active.add(1, {"triosock.server": event.server})

    def _on_closed(self, event: ConnectionClosed) -> None:
        server = {"triosock.server": event.server}
        if self._open.end(event):
            self._active.add(-1, server)
        self._connection.record(event.duration, _ended(event))
        self._bytes.add(event.received, {**server, "network.io.direction": "receive"})
        self._bytes.add(event.sent, {**server, "network.io.direction": "transmit"})

    def _on_request(self, event: RequestFinished) -> None:
        self._request.record(event.duration, _ended(event))

    def _on_refused(self, event: Refused) -> None:
        self._refused.add(1, {"triosock.server": event.server, "triosock.reason": event.reason})

    def _on_dropped(self, event: DatagramDropped) -> None:
        self._dropped.add(1, {"triosock.server": event.server, "triosock.reason": event.reason})

    def _on_accept_failed(self, event: AcceptFailed) -> None:
        self._accept_errors.add(1, {"triosock.server": event.server, "triosock.action": event.action})


def _ended(event: ConnectionClosed | RequestFinished) -> dict[str, str]:
    labels = {"triosock.server": event.server, "triosock.cause": str(event.cause)}
    if OUTCOMES.get(event.cause, "failure") == "failure":
        labels["error.type"] = str(event.cause)
    return labels


TAKE: Final[dict[type[Event], Callable[[Instruments, Any], None]]] = {
    ConnectionOpened: Instruments._on_opened,
    ConnectionClosed: Instruments._on_closed,
    RequestFinished: Instruments._on_request,
    Refused: Instruments._on_refused,
    DatagramDropped: Instruments._on_dropped,
    AcceptFailed: Instruments._on_accept_failed,
}
