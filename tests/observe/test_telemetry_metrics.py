"""Metrics by OpenTelemetry's API, exporters that hang, and the brackets of what tells both."""

from __future__ import annotations

import threading

import pytest
import trio

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.handlers import ask, shout
from tests.observe.runs import shop
from tests.observe.told import Told, talk
from tests.servers import connected, drained
from tests.waiting import threads_named, until
from triosock import events
from triosock._core.model.addresses import UnixAddress
from triosock._core.model.events import Cause
from triosock.observe.stats import StatisticsObserver
from triosock.observe.telemetry import OpenTelemetryObserver
from triosock.testing import open_server

# Exporters that hang


class Hangs(SpanExporter):
    def __init__(self):
        self.goes_on = threading.Event()
        self.came = 0

    def export(self, spans):
        self.came += 1
        self.goes_on.wait(30)
        return SpanExportResult.SUCCESS


async def test_an_exporter_that_hangs_delays_no_connection(caplog):
    exporter = Hangs()
    told = Told(exporter)
    try:
        with trio.fail_after(20):
            async with (
                told.observer(grace=0.05) as observer,
                open_server(shout, observers=[observer]) as served,
            ):
                await talk(served, b"a\n", b"b\n")
                await until(lambda: exporter.came)
                for _ in range(49):
                    await talk(served, b"a\n", b"b\n")
        assert exporter.came == 1  # and there it hangs
        assert observer.dropped == 50 * 3 - 1
        assert "triosock spans hangs" in caplog.text
        (active,) = told.metric("triosock.connection.active").values()
        assert active.value == 0  # what is counted does not wait for spans
    finally:
        exporter.goes_on.set()
        for thread in threads_named("triosock spans"):
            thread.join(5)
        told.tracers.shutdown()


class MetricsHang(MetricExporter):
    def __init__(self):
        super().__init__()
        self.goes_on = threading.Event()
        self.came = threading.Event()

    def export(self, metrics_data, timeout_millis=0, **kwargs):
        self.came.set()
        self.goes_on.wait(30)

    def force_flush(self, timeout_millis=0):
        return True

    def shutdown(self, timeout_millis=0, **kwargs):
        pass


async def test_an_exporter_of_metrics_that_hangs_delays_no_connection(told):
    exporter = MetricsHang()
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=10)
    meters = MeterProvider([reader], shutdown_on_exit=False)
    try:
        with trio.fail_after(20):
            async with (
                OpenTelemetryObserver(tracer_provider=told.tracers, meter_provider=meters) as observer,
                open_server(shout, observers=[observer]) as served,
            ):
                await talk(served, b"a\n")
                await until(exporter.came.is_set)
                for _ in range(50):
                    await talk(served, b"a\n")
    finally:
        exporter.goes_on.set()
        meters.shutdown()


# Metrics


async def test_what_began_before_it_was_attached_is_not_active_less_than_never(told):
    async with told.observer() as observer, connected(shout) as (served, old):
        assert await ask(old, b"x\n") == b"X\n"
        served.server.observers.add(observer)
        await talk(served, b"a\n")
        await old.aclose()
        await drained(served.server)
        (active,) = told.metric("triosock.connection.active").values()
        assert active.value == 0
        (ended,) = told.metric("triosock.connection.duration").values()
        assert ended.count == 2


async def test_connections_that_outlive_the_block_are_active_no_more(told):
    async with open_server(shout) as served:
        async with told.observer() as observer:
            served.server.observers.add(observer)
            first, second = await served.connect(), await served.connect()
            for client in (first, second):
                assert await ask(client, b"x\n") == b"X\n"
            await first.aclose()
            await until(lambda: served.server.statistics().active == 1)
            (active,) = told.metric("triosock.connection.active").values()
            assert active.value == 1
        (active,) = told.metric("triosock.connection.active").values()
        assert active.value == 0
        assert await ask(second, b"x\n") == b"X\n"
        await second.aclose()
        await drained(served.server)
    (active,) = told.metric("triosock.connection.active").values()
    assert active.value == 0


async def test_the_numbers_are_those_of_the_run(told, autojump_clock):
    counted = StatisticsObserver()
    async with told.observer() as observer:
        await shop(observers=(observer, counted))
    ended = {
        dict(labels)["triosock.cause"]: point.count
        for labels, point in told.metric("triosock.connection.duration").items()
    }
    assert ended == {str(cause): number for cause, number in counted.ended.items()}
    total = sum(point.sum for point in told.metric("triosock.connection.duration").values())
    assert total == pytest.approx(counted.connections.total)
    requests = told.metric("triosock.request.duration").values()
    assert sum(one.count for one in requests) == counted.requests.count
    io = {
        dict(labels)["network.io.direction"]: point.value
        for labels, point in told.metric("triosock.network.io").items()
    }
    assert io["receive"] == 49
    (active,) = told.metric("triosock.connection.active").values()
    assert active.value == 0
    assert not any("peer" in name or "client" in name for labels in told.metric("triosock.network.io")
                   for name, _ in labels)  # fmt: skip


# Its brackets


async def test_it_serves_inside_of_its_block_only(told, caplog):
    observer = told.observer()
    async with open_server(shout, observers=[observer]) as served:
        await talk(served, b"a\n")
    assert "serve inside of `async with OpenTelemetryObserver()" in caplog.text
    async with observer:
        pass
    with pytest.raises(events.ObserverDone):
        observer.on_event(events.ServerClosed(server="s", time=0.0))
    assert threads_named("triosock spans") == []


async def test_one_that_is_attached_late_makes_no_span_of_what_began_before(told):
    async with told.observer() as observer:
        observer.on_event(
            events.ConnectionClosed(
                server="s", time=1.0, connection=1, peer=UnixAddress(""), cause=Cause.FINISHED,
                received=0, sent=0, duration=1.0,
            )
        )  # fmt: skip
        observer.on_event(
            events.RequestFinished(server="s", time=1.0, connection=1, peer=UnixAddress(""), duration=1.0)
        )
    assert told.spans() == []
