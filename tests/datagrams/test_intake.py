"""Every datagram is handled, dropped or pending; nobody can fill it alone."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triosock import Limits, MemoryAddress
from triosock._core.datagram.queue import Intake
from triosock._core.model import events
from triosock._core.model.emitter import Emitter
from triosock._core.registry.registry import Tally


@attrs.define(eq=False)
class Parcel:
    host: str
    number: int = 0
    withdrawn: int = 0

    @property
    def peer(self):
        return MemoryAddress(self.host)

    def withdraw(self):
        self.withdrawn += 1


def make(recorder=None, **limits):
    emitter = Emitter("test", lambda: 0.0, [recorder] if recorder else [])
    return Intake(Limits(**limits), Tally(), emitter)


def offer(intake, host, number=0):
    parcel = Parcel(host, number)
    intake.count(b"xy", False)
    admitted = intake.admit(parcel)
    intake.check()
    return parcel if admitted else None


def test_one_peer_alone_gets_half_of_it_and_the_next_half_of_what_is_left():
    intake = make(max_pending_datagrams=16)
    assert sum(offer(intake, "a") is not None for _ in range(100)) == 9
    assert sum(offer(intake, "b") is not None for _ in range(100)) == 4
    assert offer(intake, "c") is not None
    assert intake.dropped == {"share": 91 + 96}


def test_two_that_flood_together_leave_a_third():
    intake = make(max_pending_datagrams=30)
    for _ in range(100):
        offer(intake, "a")
        offer(intake, "b")
    free = 30 - intake.pending
    assert free >= 8
    assert sum(offer(intake, "c") is not None for _ in range(5)) == 5


def test_a_bound_of_one_serves_one():
    intake = make(max_pending_datagrams=1)
    first = offer(intake, "a")
    assert offer(intake, "b") is None
    assert intake.dropped == {"full": 1}
    intake.begin(first)
    assert offer(intake, "b") is None, "what is being handled keeps its place"
    intake.release("a")
    assert offer(intake, "b") is not None


def test_without_a_bound_everybody_is_let_in():
    intake = make(max_pending_datagrams=math.inf)
    assert all(offer(intake, "a") for _ in range(1_000))


def test_oldest_a_peer_over_its_share_pays_with_its_own(recorder):
    intake = make(recorder, max_pending_datagrams=4, drop="oldest")
    other = offer(intake, "b")
    kept = [offer(intake, "a", number) for number in range(10)]
    assert all(kept)
    assert intake.is_waiting(other)
    assert [parcel.number for parcel in kept if intake.is_waiting(parcel)] == [8, 9]
    assert [parcel.withdrawn for parcel in kept] == [1] * 8 + [0] * 2
    assert [(event.peer.name, event.reason) for event in recorder.of(events.DatagramDropped)] == [
        ("a", "share")
    ] * 8


def test_oldest_when_it_is_full_the_oldest_of_all_goes():
    intake = make(max_pending_datagrams=2, drop="oldest")
    first, second = offer(intake, "a"), offer(intake, "b")
    assert offer(intake, "c") is not None
    assert not intake.is_waiting(first)
    assert intake.is_waiting(second)
    assert intake.dropped == {"full": 1}


def test_oldest_what_has_begun_is_not_dropped_for_anybody():
    intake = make(max_pending_datagrams=1, drop="oldest")
    intake.begin(offer(intake, "a"))
    assert offer(intake, "b") is None
    assert intake.dropped == {"full": 1}


def test_what_had_no_turn_in_a_drain_is_in_its_report():
    tally = Tally()
    intake = Intake(Limits(), tally, Emitter("test", lambda: 0.0))
    parcel = offer(intake, "a")
    intake.discard(parcel, "drain")
    intake.check()
    assert tally.refused["drain"] == 1


def test_the_check_finds_what_is_wrong():
    intake = make()
    intake.received += 1
    with pytest.raises(AssertionError, match="1 received, 0 handled, 0 dropped, 0 pending"):
        intake.check()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.sampled_from("abcd")),
        st.tuples(st.just("begin"), st.integers(0, 50)),
        st.tuples(st.just("end"), st.integers(0, 50)),
        st.tuples(st.just("discard"), st.integers(0, 50)),
        st.tuples(st.just("refuse"), st.just("late")),
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(most=st.integers(1, 8), drop=st.sampled_from(["newest", "oldest"]), steps=steps)
def test_nothing_is_lost_and_the_bound_holds_whatever_happens(most, drop, steps):
    intake = make(max_pending_datagrams=most, drop=drop)
    waiting, begun = [], []
    for what, which in steps:
        if what == "offer":
            parcel = offer(intake, which)
            waiting = [one for one in waiting if intake.is_waiting(one)]
            if parcel:
                waiting.append(parcel)
        elif what == "refuse":
            intake.count(b"", True)
            intake.refuse("late", Parcel("z"))
        elif what == "end":
            if begun:
                intake.release(begun.pop(which % len(begun)).host)
        elif waiting:
            parcel = waiting.pop(which % len(waiting))
            if what == "begin":
                intake.begin(parcel)
                begun.append(parcel)
            else:
                intake.discard(parcel, "unread")
        intake.check()
        assert intake.pending == len(waiting)
