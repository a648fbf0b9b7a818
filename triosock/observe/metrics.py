"""Counts events for Prometheus: the extra ``metrics`` (prometheus-client).

    from triosock.observe.metrics import PrometheusObserver

    prometheus = PrometheusObserver()                 # once in a process
    await triosock.serve_tcp(handler, 80, observers=[prometheus])

Every metric has the label `server`: give servers a name, since the default name contains the port. Peers are
no labels, since their number has no bound. prometheus-client serves the metrics, for example by its
`start_http_server`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from .._core.model.events import (
    AcceptFailed,
    ConnectionClosed,
    ConnectionOpened,
    DatagramDropped,
    DrainAnnounced,
    DrainFinished,
    DrainStarted,
    Event,
    RateReached,
    Refused,
    RequestFinished,
    ServerClosed,
    SheddingEnded,
    SheddingStarted,
)
from .._extras import missing
from .active import Active

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ModuleNotFoundError as _error:
    raise missing(_error, "PrometheusObserver", "metrics", "prometheus_client") from None


@final
class PrometheusObserver:
    """Updates Prometheus metrics for all servers that it is given to.

    ``triosock_connections_opened_total``, ``triosock_connections_ended_total{cause}``,
    ``triosock_connections_active``, ``triosock_connection_seconds``, ``triosock_requests_total{cause}``,
    ``triosock_request_seconds``, ``triosock_bytes_total{direction}`` (counted when a connection ends),
    ``triosock_refused_total{reason}``, ``triosock_rate_reached_total{limit}``,
    ``triosock_datagrams_dropped_total{reason}``,
    ``triosock_accept_errors_total{action}``, ``triosock_draining``, ``triosock_shedding``; each with the
    label ``server``.

    An observer that is attached to a running server counts as active only connections that open afterwards.

    Args: `registry`, a `CollectorRegistry`; None for prometheus-client's default one. A registry can have
    only one observer of this class.

    Raises: ValueError if the registry has these metrics already.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        where: dict[str, Any] = {"registry": REGISTRY if registry is None else registry}

        def metric(kind: Any, name: str, says: str, *labels: str) -> Any:
            return kind(f"triosock_{name}", says, ("server", *labels), **where)

        self._opened = metric(Counter, "connections_opened", "Connections accepted and served")
        self._ended = metric(Counter, "connections_ended", "Connections that have ended, by cause", "cause")
        self._active = metric(Gauge, "connections_active", "Connections that are being served")
        self._seconds = metric(Histogram, "connection_seconds", "How long connections lasted")
        self._requests = metric(Counter, "requests", "Requests that have ended, by cause", "cause")
        self._request_seconds = metric(Histogram, "request_seconds", "How long requests took")
        self._bytes = metric(Counter, "bytes", "Bytes of connections that have ended", "direction")
        self._refused = metric(Counter, "refused", "Connections turned away, by reason", "reason")
        self._rates = metric(Counter, "rate_reached", "Waits and refusals due to a rate, by option", "limit")
        self._dropped = metric(Counter, "datagrams_dropped", "Datagrams not handled, by reason", "reason")
        self._accept_errors = metric(Counter, "accept_errors", "Errors of accept, by what was done", "action")
        self._shedding = metric(Gauge, "shedding", "1 while new connections are refused, being late")
        self._draining = metric(Gauge, "draining", "1 during a drain, its delay included")
        self._open = Active()
        self.wants: tuple[type[Event], ...] = tuple(_TAKE)

    def on_event(self, event: Event, /) -> None:
        """Count one event."""
        _TAKE[type(event)](self, event)

    def _on_opened(self, event: ConnectionOpened) -> None:
        self._open.begin(event)
        self._opened.labels(event.server).inc()
        self._active.labels(event.server).inc()

    def _on_closed(self, event: ConnectionClosed) -> None:
        if self._open.end(event):
            self._active.labels(event.server).dec()
        self._ended.labels(event.server, event.cause).inc()
        self._seconds.labels(event.server).observe(event.duration)
        self._bytes.labels(event.server, "received").inc(event.received)
        self._bytes.labels(event.server, "sent").inc(event.sent)

    def _on_request(self, event: RequestFinished) -> None:
        self._requests.labels(event.server, event.cause).inc()
        self._request_seconds.labels(event.server).observe(event.duration)

    def _on_refused(self, event: Refused) -> None:
        self._refused.labels(event.server, event.reason).inc()

    def _on_rate(self, event: RateReached) -> None:
        self._rates.labels(event.server, event.limit).inc()

    def _on_dropped(self, event: DatagramDropped) -> None:
        self._dropped.labels(event.server, event.reason).inc()

    def _on_accept_failed(self, event: AcceptFailed) -> None:
        self._accept_errors.labels(event.server, event.action).inc()

    def _on_drain(self, event: DrainAnnounced | DrainStarted) -> None:
        self._draining.labels(event.server).set(1)

    def _on_shedding(self, event: SheddingStarted | SheddingEnded) -> None:
        self._shedding.labels(event.server).set(isinstance(event, SheddingStarted))

    def _on_end(self, event: DrainFinished | ServerClosed) -> None:
        self._draining.labels(event.server).set(0)

    def _on_server_closed(self, event: ServerClosed) -> None:
        self._on_end(event)
        self._shedding.labels(event.server).set(0)


_TAKE: Final[dict[type[Event], Callable[[PrometheusObserver, Any], None]]] = {
    ConnectionOpened: PrometheusObserver._on_opened,
    ConnectionClosed: PrometheusObserver._on_closed,
    RequestFinished: PrometheusObserver._on_request,
    RateReached: PrometheusObserver._on_rate,
    Refused: PrometheusObserver._on_refused,
    DatagramDropped: PrometheusObserver._on_dropped,
    AcceptFailed: PrometheusObserver._on_accept_failed,
    DrainAnnounced: PrometheusObserver._on_drain,
    DrainStarted: PrometheusObserver._on_drain,
    SheddingStarted: PrometheusObserver._on_shedding,
    SheddingEnded: PrometheusObserver._on_shedding,
    DrainFinished: PrometheusObserver._on_end,
    ServerClosed: PrometheusObserver._on_server_closed,
}
