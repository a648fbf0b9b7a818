"""What OpenTelemetry was told: an observer whose providers export into memory."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.waiting import PATIENCE
from triosock.observe.telemetry import OpenTelemetryObserver
from triosock.testing import open_server


class Told:
    """Providers of our own: the global ones can be set only once."""

    def __init__(self, exporter=None):
        self.exporter = InMemorySpanExporter() if exporter is None else exporter
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = self.tracers.get_tracer("tests")

    def observer(self, **options):
        options = {"grace": PATIENCE, **options}
        return OpenTelemetryObserver(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    async def serve(self, handler, *lines, **options):
        """Serve one connection, on which these lines are said; return its observer."""
        async with (
            self.observer() as observer,
            open_server(handler, observers=[observer], **options) as served,
        ):
            await talk(served, *lines)
        return observer

    def spans(self, name=None):
        return [one for one in self.exporter.get_finished_spans() if name in (None, one.name)]

    def metric(self, name):
        """Its points, by their attributes."""
        found = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        found |= {frozenset(one.attributes.items()): one for one in metric.data.data_points}
        return found


async def talk(served, *lines):
    client = await served.connect()
    for line in lines:
        await client.send_all(line)
        assert await client.receive_exactly(len(line)) == line.upper()
    await client.aclose()
