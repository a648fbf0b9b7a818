"""What the variants of the native server have on, each as options of `serve_*` inside a block."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import triosock
from triosock import observe

#: More than any load asks for: what is measured is the bookkeeping, and nobody is made to wait.
PLENTY = triosock.Rate(1e6)


class Counter:
    def __init__(self) -> None:
        self.events = 0

    def on_event(self, event: object) -> None:
        self.events += 1


@contextlib.asynccontextmanager
async def options(variant: str, kind: str) -> AsyncIterator[Mapping[str, Any]]:
    """What `variant` adds to the options of a server for works of this `kind`."""
    if variant == "no-gc":
        gc.disable()
        yield {}
    elif variant.startswith("opentelemetry"):
        async with telemetry(variant) as observer:
            yield {"observers": (observer,)}
    elif variant in ("access-log", "json-log"):
        form = "json" if variant == "json-log" else None
        of = "requests" if kind == "lines" else "connections"
        async with observe.LineWriter(os.devnull) as write:
            yield {"observers": (observe.AccessLog(write, format=form, of=of),)}
    else:
        yield {
            "default": {},
            "timeouts": {"timeouts": triosock.Timeouts(idle=60, request=60, send=60)},
            "observer": {"observers": (Counter(),)},
            "sessions": {"sessions": triosock.Sessions()},
            "rates": {"limits": triosock.Limits(rate_per_peer=PLENTY, request_rate_per_peer=PLENTY)},
            "max-lag": {"limits": triosock.Limits(max_lag=10)},
            "adaptive": {"limits": triosock.Limits(adaptive=triosock.AdaptiveLimit())},
        }[variant]


@contextlib.asynccontextmanager
async def telemetry(variant: str) -> AsyncIterator[object]:
    """OpenTelemetry without an SDK ("opentelemetry-api"), or with one whose exporter does nothing."""
    from triosock.observe.telemetry import OpenTelemetryObserver

    if variant == "opentelemetry-api":
        async with OpenTelemetryObserver() as observer:
            yield observer
        return
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    async with OpenTelemetryObserver(tracer_provider=provider) as observer:
        yield observer
    provider.shutdown()
