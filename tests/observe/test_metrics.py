"""Metrics for Prometheus."""

from __future__ import annotations

import threading

import pytest
import trio.testing

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest

from tests.handlers import ask, shout
from tests.observe.runs import shop
from tests.servers import connected
from triosock import Limits, Rate
from triosock._core.model import events
from triosock._core.model.addresses import MemoryAddress
from triosock.observe.active import Active
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


async def test_what_began_before_it_was_attached_is_not_active_less_than_never():
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry)
    async with connected(shout, name="shop") as (served, old):
        assert await ask(old, b"x\n") == b"X\n"
        served.server.observers.add(observer)
        new = await served.connect()
        assert await ask(new, b"x\n") == b"X\n"
        assert registry.get_sample_value("triosock_connections_active", {"server": "shop"}) == 1
        await old.aclose()
        await new.aclose()
    assert registry.get_sample_value("triosock_connections_active", {"server": "shop"}) == 0
    ended = {"server": "shop", "cause": "finished"}
    assert registry.get_sample_value("triosock_connections_ended_total", ended) == 2


def test_servers_with_one_name_are_counted_together():
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry)
    fields = {"server": "web", "time": 0.0, "connection": 1, "peer": MemoryAddress("m")}
    ended = {"cause": events.Cause.FINISHED, "received": 0, "sent": 0, "duration": 1.0}
    seen = []
    for event in (
        *[events.ConnectionOpened(local=MemoryAddress("us"), **fields)] * 2,
        *[events.ConnectionClosed(**fields, **ended)] * 3,
    ):
        observer.on_event(event)
        seen.append(registry.get_sample_value("triosock_connections_active", {"server": "web"}))
    assert seen == [1, 2, 1, 0, 0]


def test_a_connection_may_end_in_another_thread_than_it_began():
    """As a request of a compat server does that goes on while its host ends and another one begins."""
    fields = {"server": "web", "time": 0.0, "connection": 1, "peer": MemoryAddress("m")}
    ended = {"cause": events.Cause.FINISHED, "received": 0, "sent": 0, "duration": 1.0}
    active = Active()
    thread = threading.Thread(
        target=active.begin, args=[events.ConnectionOpened(local=MemoryAddress("us"), **fields)]
    )
    thread.start()
    thread.join()
    assert active.end(events.ConnectionClosed(**fields, **ended))
    assert not active.end(events.ConnectionClosed(**fields, **ended))


async def test_a_server_that_ends_overloaded_sheds_no_more(mock_clock):
    registry = CollectorRegistry()
    options = {"limits": Limits(max_lag=0.2), "name": "shop", "observers": [PrometheusObserver(registry)]}
    async with connected(shout, **options) as (served, client):
        assert await ask(client, b"x\n") == b"X\n"
        for _ in range(3):
            mock_clock.jump(0.5)
            await trio.testing.wait_all_tasks_blocked()
        assert registry.get_sample_value("triosock_shedding", {"server": "shop"}) == 1
        await client.aclose()
        mock_clock.autojump_threshold = 0
    assert registry.get_sample_value("triosock_shedding", {"server": "shop"}) == 0
    assert not served.server.shedding
    assert not served.server.statistics().shedding


async def test_two_in_one_registry_are_refused():
    registry = CollectorRegistry()
    PrometheusObserver(registry)
    with pytest.raises(ValueError, match="uplicate"):
        PrometheusObserver(registry)


def test_what_it_wants_is_what_it_can_count():
    wants = PrometheusObserver(CollectorRegistry()).wants
    assert set(wants) == set(_TAKE)
    assert events.RequestStarted not in wants
