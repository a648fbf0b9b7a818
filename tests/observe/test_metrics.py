"""Metrics for Prometheus."""

from __future__ import annotations

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest

from tests.handlers import shout
from tests.observe.runs import shop
from tests.servers import connected
from triosock import Limits, Rate
from triosock._core.model import events
from triosock.observe.metrics import _TAKE, PrometheusObserver


async def test_the_numbers_are_those_of_the_run(autojump_clock):
    registry = CollectorRegistry()
    await shop(observers=(PrometheusObserver(registry),))

    def value(name, **labels):
        return registry.get_sample_value(f"triosock_{name}", {"server": "shop", **labels})

    assert value("connections_opened_total") == 8
    assert value("connections_active") == 0
    assert value("connections_ended_total", cause="drain deadline") == 1
    assert value("connections_ended_total", cause="failed") == 1
    assert value("requests_total", cause="finished") == 6
    assert value("bytes_total", direction="received") == 49
    assert value("connection_seconds_count") == 8
    assert value("draining") == 0
    assert b'server="shop"' in generate_latest(registry)


async def test_a_rate_that_is_reached_is_counted_by_its_option(autojump_clock):
    registry = CollectorRegistry()
    limits = Limits(request_rate_per_peer=Rate(1, burst=2))
    options = {"limits": limits, "name": "shop", "observers": [PrometheusObserver(registry)]}
    async with connected(shout, **options) as (_, client):
        await client.send_all(b"x\n" * 5)
        for _ in range(5):
            await client.receive_until(b"\n")
    labels = {"server": "shop", "limit": "request_rate_per_peer"}
    assert registry.get_sample_value("triosock_rate_reached_total", labels) == 3


async def test_two_in_one_registry_are_refused():
    registry = CollectorRegistry()
    PrometheusObserver(registry)
    with pytest.raises(ValueError, match="uplicate"):
        PrometheusObserver(registry)


def test_what_it_wants_is_what_it_can_count():
    wants = PrometheusObserver(CollectorRegistry()).wants
    assert set(wants) == set(_TAKE)
    assert events.RequestStarted not in wants
