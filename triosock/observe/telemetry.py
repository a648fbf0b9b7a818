"""Traces and metrics by OpenTelemetry's API: the extra ``opentelemetry``. The SDK that the program has set up
processes and exports them; without an SDK they are discarded.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final, final

from .._core.model.emitter import ObserverDone
from .._core.model.events import Event
from .._extras import missing
from .background_thread import BackgroundThread

try:
    from opentelemetry import metrics, trace
except ModuleNotFoundError as _error:
    raise missing(_error, "OpenTelemetryObserver", "opentelemetry", "opentelemetry") from None

from .telemetry_metrics import TAKE, Instruments
from .telemetry_spans import WANTS, Spans

if TYPE_CHECKING:
    from typing import Self

#: The semantic conventions that the names of attributes are from.
SCHEMA: Final = "https://opentelemetry.io/schemas/1.29.0"
NAME: Final = "triosock"


@final
class OpenTelemetryObserver:
    """Traces and measures all servers that it is given to, in a block ``async with OpenTelemetryObserver() as
    observer:``.

    Each connection is a span of kind SERVER, and the root of a trace; its requests (of `lines()`, `frames()`,
    `wait_request()`, `idle()` and `request()`) are children of that span. A datagram without a session is the
    root of a trace, too. The span of the connection or request is current in the handler, so that spans which
    the handler starts are its children. Attributes have the names of OpenTelemetry's semantic conventions
    (``client.address``, ``server.port``, ``network.transport``, ``tls.protocol.version``, ``error.type``);
    the names of all others begin with ``triosock.``. The span of a connection is exported when the connection
    has ended.

    Args: `tracer_provider`, `meter_provider`, None for the global ones; `grace`, the seconds (from 0 on) for
    which the end of the block waits until all spans are ended.

    Spans are ended in a thread of this block, which passes them to processors and exporters: an exporter that
    hangs delays no connection. `dropped` counts the spans that were not ended, since 2048 were queued or
    `grace` was over.

    Metrics: ``triosock.connection.active``, ``triosock.connection.duration``, ``triosock.request.duration``,
    ``triosock.network.io``, ``triosock.connection.refused``, ``triosock.datagram.dropped``,
    ``triosock.accept.errors``, each with the attribute ``triosock.server``.

    A connection that is open when the block ends has no span, and is not counted as active any more.

    A connection is identified by the name of its server and its number, so servers that share one observer
    need different names (``name=``).

    Cancellation: the end of the block is shielded from it, for `grace` seconds at most.

    Raises: TypeError, ValueError for a wrong `grace`; RuntimeError if the block is entered again.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        grace: float = 1.0,
    ) -> None:
        self._thread = BackgroundThread("triosock spans", grace=grace)
        self._spans = Spans(
            trace.get_tracer(NAME, tracer_provider=tracer_provider, schema_url=SCHEMA), self._thread
        )
        self._instruments = Instruments(
            metrics.get_meter(NAME, meter_provider=meter_provider, schema_url=SCHEMA)
        )
        self._state = "new"
        self.wants: tuple[type[Event], ...] = tuple(dict.fromkeys((*WANTS, *TAKE)))

    @property
    def dropped(self) -> int:
        """The number of spans that were not ended."""
        return self._thread.dropped

    async def __aenter__(self) -> Self:
        await self._thread.__aenter__()
        self._state = "open"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state = "closed"
        self._instruments.close()
        await self._thread.__aexit__(kind, error, trace)

    def on_event(self, event: Event, /) -> None:
        """Start or end a span, and update the metrics. Raises: RuntimeError before the block is entered."""
        if self._state == "closed":
            raise ObserverDone
        if self._state == "new":
            raise RuntimeError("serve inside of `async with OpenTelemetryObserver() as observer:`")
        self._spans.take(event)
        self._instruments.take(event)
