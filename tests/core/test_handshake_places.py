"""The places for handshakes alone: never more than there are, no waiting for those that keep the server
waiting, and nothing left behind.
"""

from __future__ import annotations

import math
import random
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from triosock import Limits, MemoryAddress
from triosock._core.model.emitter import Emitter
from triosock._core.registry.registry import NEVER, Entry, Registry
from triosock._core.server.handshake_places import (
    FAIR,
    LONGEST_WAIT,
    PAUSE,
    HandshakePlaces,
    count_places,
)


@attrs.define(eq=False)
class Peer:
    """What is served, and its own wire: whether bytes of it have arrived is said by the test."""

    peer: MemoryAddress = attrs.field(factory=lambda: MemoryAddress("peer"))
    has_sent: bool | None = False

    @property
    def wire(self) -> Any:
        return self

    def has_input(self) -> bool | None:
        return self.has_sent

    def interrupt_idle(self, cause: object) -> None:
        raise NotImplementedError


def make_entry(has_sent: bool | None = False) -> Entry:
    entry = Entry(accepted=trio.current_time())
    entry.served = Peer(has_sent=has_sent)
    return entry


def make_places(most: float) -> HandshakePlaces:
    return HandshakePlaces(most, Registry(Limits()), Emitter("test", trio.current_time))


async def hold(places: HandshakePlaces, entry: Entry, seconds: float = math.inf) -> float:
    """Shake hands for so long, all of it the peer's; return after how long the place was taken."""
    began = trio.current_time()
    waited = math.nan
    with entry.scope:
        await places.take(entry)
        try:
            waited = trio.current_time() - began
            entry.receive_since = trio.current_time()
            await trio.sleep(seconds)
        finally:
            entry.receive_since = NEVER
            places.give_back(entry)
    return waited


async def test_who_has_had_its_time_makes_room_at_once(autojump_clock: Any) -> None:
    places = make_places(2)
    entries = [make_entry() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, places, entries[0])
        await trio.sleep(FAIR / 2)
        nursery.start_soon(hold, places, entries[1])
        await trio.sleep(FAIR / 2)
        assert await hold(places, entries[2], 0) == pytest.approx(0)
        assert [one.scope.cancel_called for one in entries] == [True, False, False]
        nursery.cancel_scope.cancel()
    assert places.taken == 0


async def test_who_has_not_had_its_time_keeps_its_place_while_another_waits(autojump_clock: Any) -> None:
    places = make_places(1)
    slow = make_entry()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, places, slow, FAIR - 0.01)
        await trio.sleep(FAIR - LONGEST_WAIT + 0.1)
        assert await hold(places, make_entry(), 0) == pytest.approx(LONGEST_WAIT - 0.1 - 0.01)
        assert not slow.scope.cancel_called


async def test_nobody_waits_longer_than_that_for_one_who_keeps_the_server_waiting(
    autojump_clock: Any,
) -> None:
    places = make_places(1)
    slow = make_entry()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, places, slow)
        await trio.testing.wait_all_tasks_blocked()
        assert await hold(places, make_entry(), 0) == pytest.approx(LONGEST_WAIT)
        assert slow.scope.cancel_called


@pytest.mark.parametrize("why", ["its bytes have arrived", "it waits for the server"])
async def test_who_is_not_waited_for_is_not_given_up(autojump_clock: Any, why: str) -> None:
    places = make_places(2)
    busy, silent = make_entry(has_sent=why == "its bytes have arrived"), make_entry()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, places, busy)
        await trio.testing.wait_all_tasks_blocked()
        if why == "it waits for the server":
            busy.receive_since = NEVER
        nursery.start_soon(hold, places, silent)
        await trio.sleep(FAIR)
        assert await hold(places, make_entry(), 0) == pytest.approx(0)
        assert (busy.scope.cancel_called, silent.scope.cancel_called) == (False, True)
        nursery.cancel_scope.cancel()


async def test_if_all_wait_for_the_server_the_next_waits_too_without_keeping_the_loop_busy(
    autojump_clock: Any,
) -> None:
    places = make_places(3)
    entries = [make_entry(has_sent=True) for _ in range(3)]
    looks = 0

    class Counting(Peer):
        def has_input(self) -> bool:
            nonlocal looks
            looks += 1
            return True

    for entry in entries:
        entry.served = Counting()
    async with trio.open_nursery() as nursery:
        for entry in entries:
            nursery.start_soon(hold, places, entry, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert await hold(places, make_entry(), 0) == pytest.approx(3)
    assert not any(entry.scope.cancel_called for entry in entries)
    assert looks <= 3 * (3 / PAUSE + 1)


async def test_a_stream_that_cannot_tell_is_given_up_by_its_time_alone(autojump_clock: Any) -> None:
    places = make_places(1)
    unknown = make_entry(has_sent=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, places, unknown)
        await trio.sleep(FAIR)
        assert await hold(places, make_entry(), 0) == pytest.approx(0)
        assert unknown.scope.cancel_called


async def test_places_are_given_in_order(autojump_clock: Any) -> None:
    places = make_places(1)
    order: list[int] = []

    async def one(number: int) -> None:
        await hold(places, make_entry(), 0.1)
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(one, number)
            await trio.testing.wait_all_tasks_blocked()
    assert order == [0, 1, 2, 3]


async def test_who_gives_up_waiting_leaves_the_line(autojump_clock: Any) -> None:
    places = make_places(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, places, make_entry(), 0.3)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.1) as impatient:
            await hold(places, make_entry(), 0)
        assert impatient.cancelled_caught
        assert await hold(places, make_entry(), 0) == pytest.approx(0.2)
    assert places.taken == 0


async def test_who_is_cancelled_in_the_moment_of_its_turn_gives_the_place_on(autojump_clock: Any) -> None:
    places = make_places(1)
    first, unlucky = make_entry(), make_entry()
    await places.take(first)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, places, unlucky)
        await trio.testing.wait_all_tasks_blocked()
        places.give_back(first)
        unlucky.scope.cancel()
    assert places.taken == 0


@pytest.mark.parametrize("seed", range(20))
async def test_never_more_than_there_are_and_all_come_back(autojump_clock: Any, seed: int) -> None:
    chance = random.Random(seed)
    most = chance.randint(1, 8)
    places = make_places(most)
    held = 0

    async def one() -> None:
        nonlocal held
        entry = make_entry(has_sent=chance.choice([None, False, False, True]))
        await trio.sleep(chance.uniform(0, 10))
        with trio.move_on_after(chance.choice([0.01, 0.5, 5])), entry.scope:
            await places.take(entry)
            held += 1
            assert places.taken <= most
            try:
                await trio.sleep(chance.choice([0, 0.01]))
                entry.receive_since = trio.current_time()
                await trio.sleep(chance.choice([0, 0.01, 0.3, 100]))
            finally:
                places.give_back(entry)
                assert places.taken <= most

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(one)
    assert held > most
    assert places.taken == 0
    assert not places._queue


@pytest.mark.parametrize("places", [5, 20])
async def test_in_a_flood_everybody_is_given_a_place_in_time(autojump_clock: Any, places: int) -> None:
    """Ten times as many a second as there are places, and all of them stop."""
    all_places = make_places(places)
    waits: list[float] = []

    async def one() -> None:
        waits.append(await hold(all_places, make_entry()))

    async with trio.open_nursery() as nursery:
        for _ in range(places * 40):
            nursery.start_soon(one)
            await trio.sleep(0.1 / places)
        nursery.cancel_scope.cancel()
    assert len(waits) > places * 30
    assert max(waits) < LONGEST_WAIT + 2 * PAUSE


@pytest.mark.parametrize(("places", "crowd", "round_trip"), [(512, 2_000, 0.1), (20, 400, 0.01)])
async def test_none_of_many_is_given_up_while_the_server_is_what_they_wait_for(
    autojump_clock: Any, places: int, crowd: int, round_trip: float
) -> None:
    """All come at once, and take turns at one processor that needs 0.64 s for as many as there are places."""
    all_places, processor = make_places(places), trio.Lock()
    done = 0

    async def one() -> None:
        nonlocal done
        entry = make_entry()
        peer = entry.served
        assert isinstance(peer, Peer)
        with entry.scope:
            await all_places.take(entry)
            try:
                async with processor:
                    await trio.sleep(0.001 * 512 / places)
                entry.receive_since = trio.current_time()
                await trio.sleep(round_trip)
                peer.has_sent = True
                async with processor:
                    await trio.sleep(0.00025 * 512 / places)
                entry.receive_since = NEVER
            finally:
                all_places.give_back(entry)
            done += 1

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(crowd):
            nursery.start_soon(one)
    assert done == crowd
    assert trio.current_time() - began > 4 * LONGEST_WAIT  # many have waited for so long


@pytest.mark.parametrize(
    ("most", "connections", "expected"),
    [(512, 16_384, 512), (512, 10, 9), (512, 1, 1), (512, 0, 1), (math.inf, 100, 99), (3, math.inf, 3)],
)
def test_so_few_places_that_a_connection_is_left_to_wait_for_one(
    most: float, connections: float, expected: float
) -> None:
    assert count_places(most, connections) == expected
    assert count_places(math.inf, math.inf) == math.inf
