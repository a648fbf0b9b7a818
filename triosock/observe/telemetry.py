"""OpenTelemetry, by its API alone: the extra ``opentelemetry``. What is done with spans and metrics is
decided by the SDK that the program has set up; without one, nothing is.
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
    """Traces and measures all servers that it is given to, inside of ``async with OpenTelemetryObserver() as
    observer:``.

    Each connection is a span of kind SERVER and a trace of its own; its requests (those of `conn.lines()`,
    `conn.frames()` and `conn.request()`) are its children, and a datagram without a session is a span of its
    own. The handler runs with its span current, so that spans it starts are children of that. Attributes have
    the names of OpenTelemetry's semantic conventions (``client.address``, ``server.port``,
    ``network.transport``, ``tls.protocol.version``, ``error.type``), and ``triosock.`` what they have no name
    for. A connection's span is exported when it has ended.

    Args: `tracer_provider`, `meter_provider`, None for the global ones; `grace`, how many seconds leaving the
    block waits until all spans are ended.

    Spans are ended, and so given to processors and exporters, in a thread of this block: an exporter that
    hangs delays no connection. `dropped` counts spans that were not ended because 2048 were waiting. Leaving
    the block waits as `grace` says, shielded from cancellation.

    Metrics: ``triosock.connection.active``, ``triosock.connection.duration``, ``triosock.request.duration``,
    ``triosock.network.io``, ``triosock.connection.refused``, ``triosock.datagram.dropped``,
    ``triosock.accept.errors``, each by ``triosock.server``.

    Servers that share one must have names of their own.
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
        """How many spans were not ended."""
        return self._thread.dropped

    async def __aenter__(self) -> Self:
        await self._thread.__aenter__()
        self._state = "open"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state = "closed"
        await self._thread.__aexit__(kind, error, trace)

    def on_event(self, event: Event, /) -> None:
        """Start or end a span, or measure. Raises: RuntimeError before the block."""
        if self._state == "closed":
            raise ObserverDone
        if self._state == "new":
            raise RuntimeError("serve inside of `async with OpenTelemetryObserver() as observer:`")
        self._spans.take(event)
        self._instruments.take(event)
