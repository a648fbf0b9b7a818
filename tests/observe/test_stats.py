"""Events, counted."""

from __future__ import annotations

import pytest

from tests.observe.runs import shop
from triosock import Cause
from triosock.observe import Durations, StatisticsObserver


async def test_it_counts_what_happens(autojump_clock):
    stats = StatisticsObserver()
    await shop(observers=(stats,))
    assert stats.ended == {
        Cause.FINISHED: 3,
        Cause.IDLE: 1,
        Cause.FAILED: 1,
        Cause.REQUEST: 1,
        Cause.PEER: 1,
        Cause.DRAIN: 1,
    }
    assert (
        stats.events["ConnectionOpened"],
        stats.events["HandlerFailed"],
        stats.events["DrainStarted"],
    ) == (8, 1, 1)
    assert stats.connections.count == 8
    assert stats.connections.longest == pytest.approx(3.9)
    assert stats.requests.shortest == pytest.approx(0.2)


def test_no_durations_have_a_mean():
    assert Durations().mean == 0
    assert Durations().and_one(1.0).and_one(3.0).mean == 2
