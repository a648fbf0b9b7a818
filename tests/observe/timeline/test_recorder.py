"""Timeline: what it is attached to, and that it lets go."""

from __future__ import annotations

import pytest
import trio

import triosock
from tests.handlers import ask, echo
from tests.servers import connected
from triosock._core.model import emitter, events
from triosock.observe import Timeline
from triosock.testing import open_server


async def talk(server):
    async with await server.connect() as client:
        assert await ask(client, b"hello\n") == b"hello\n"


async def test_it_records_every_server_that_starts_inside(autojump_clock):
    with Timeline() as timeline:
        async with open_server(echo, name="one") as one, open_server(echo, name="two") as two:
            await talk(one)
            await talk(two)
            await talk(two)
    assert [len(band.boxes) for band in timeline.picture().bands] == [1, 2]


async def test_after_its_block_it_costs_nothing(autojump_clock):
    async with open_server(echo) as server:
        attached = len(server.server.observers)
    timeline = Timeline()
    timeline.__enter__()
    async with open_server(echo) as server:
        assert len(server.server.observers) == attached + 1
        timeline.__exit__(None, None, None)
        # The first event after the end finds it gone; nobody is told of a failure.
        await talk(server)
        assert len(server.server.observers) == attached
        assert not server.recorder.of(events.ObserverFailed)
    assert emitter.watchers == []
    assert timeline.picture().bands[0].boxes == ()


async def test_a_server_that_runs_already_can_be_added(autojump_clock):
    timeline = Timeline()
    async with open_server(echo, name="old") as server:
        server.server.observers.add(timeline)
        await talk(server)
    (band,) = timeline.picture().bands
    assert [box.pieces[0].kind for box in band.boxes] == ["working"]


async def test_a_server_is_recorded_once_even_if_told_twice(autojump_clock):
    with Timeline() as timeline:
        async with open_server(echo, name="s", observers=[timeline]) as server:
            await talk(server)
    assert [len(band.boxes) for band in timeline.picture().bands] == [1]


async def test_it_can_be_drawn_while_it_records(autojump_clock):
    with Timeline() as timeline:
        async with connected(echo, name="s") as (_, client):
            await trio.sleep(3)
            picture = timeline.picture()
            assert (picture.end, picture.bands[0].boxes[0].end_kind) == (pytest.approx(3), "open")
            await client.aclose()


def test_it_is_used_once():
    with Timeline() as timeline:
        pass
    with pytest.raises(RuntimeError, match="make another one"):
        timeline.__enter__()


@pytest.mark.parametrize("name", ["max_connections", "max_requests"])
def test_its_bounds_are_checked(name):
    with pytest.raises(ValueError, match=f"{name} must be from 1 on, not 0"):
        Timeline(**{name: 0})
    with pytest.raises(TypeError, match=f"{name} must be an int from 1 on, not '1'"):
        Timeline(**{name: "1"})


def test_a_timeline_is_an_observer():
    assert isinstance(Timeline(), triosock.Observer)
