"""Every datagram is handled, dropped or pending; nobody can fill it alone."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triosock import Limits, MemoryAddress
from triosock._core.datagram.queue import ReceiveQueue
from triosock._core.model import events
from triosock._core.model.emitter import Emitter
from triosock._core.registry.registry import Tally


@attrs.define(eq=False)
class QueuedDatagram:
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
    return ReceiveQueue(Limits(**limits), Tally(), emitter)


def offer(queue, host, number=0):
    queued = QueuedDatagram(host, number)
    queue.count(b"xy", False)
    admitted = queue.admit(queued)
    queue.check()
    return queued if admitted else None


def test_one_peer_alone_gets_half_of_it_and_the_next_half_of_what_is_left():
    queue = make(max_pending_datagrams=16)
    assert sum(offer(queue, "a") is not None for _ in range(100)) == 9
    assert sum(offer(queue, "b") is not None for _ in range(100)) == 4
    assert offer(queue, "c") is not None
    assert queue.dropped == {"share": 91 + 96}


def test_two_that_flood_together_leave_a_third():
    queue = make(max_pending_datagrams=30)
    for _ in range(100):
        offer(queue, "a")
        offer(queue, "b")
    free = 30 - queue.pending
    assert free >= 8
    assert sum(offer(queue, "c") is not None for _ in range(5)) == 5


def test_a_bound_of_one_serves_one():
    queue = make(max_pending_datagrams=1)
    first = offer(queue, "a")
    assert offer(queue, "b") is None
    assert queue.dropped == {"full": 1}
    queue.begin(first)
    assert offer(queue, "b") is None, "what is being handled keeps its place"
    queue.release("a")
    assert offer(queue, "b") is not None


def test_without_a_bound_everybody_is_let_in():
    queue = make(max_pending_datagrams=math.inf)
    assert all(offer(queue, "a") for _ in range(1_000))


def test_oldest_a_peer_over_its_share_pays_with_its_own(recorder):
    queue = make(recorder, max_pending_datagrams=4, drop="oldest")
    other = offer(queue, "b")
    kept = [offer(queue, "a", number) for number in range(10)]
    assert all(kept)
    assert queue.is_waiting(other)
    assert [queued.number for queued in kept if queue.is_waiting(queued)] == [8, 9]
    assert [queued.withdrawn for queued in kept] == [1] * 8 + [0] * 2
    assert [(event.peer.name, event.reason) for event in recorder.of(events.DatagramDropped)] == [
        ("a", "share")
    ] * 8


def test_oldest_when_it_is_full_the_oldest_of_all_goes():
    queue = make(max_pending_datagrams=2, drop="oldest")
    first, second = offer(queue, "a"), offer(queue, "b")
    assert offer(queue, "c") is not None
    assert not queue.is_waiting(first)
    assert queue.is_waiting(second)
    assert queue.dropped == {"full": 1}


def test_oldest_what_has_begun_is_not_dropped_for_anybody():
    queue = make(max_pending_datagrams=1, drop="oldest")
    queue.begin(offer(queue, "a"))
    assert offer(queue, "b") is None
    assert queue.dropped == {"full": 1}


def test_what_had_no_turn_in_a_drain_is_in_its_report():
    tally = Tally()
    queue = ReceiveQueue(Limits(), tally, Emitter("test", lambda: 0.0))
    queued = offer(queue, "a")
    queue.discard(queued, "drain")
    queue.check()
    assert tally.refused["drain"] == 1


def test_the_check_finds_what_is_wrong():
    queue = make()
    queue.received += 1
    with pytest.raises(AssertionError, match="1 received, 0 handled, 0 dropped, 0 pending"):
        queue.check()


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
    queue = make(max_pending_datagrams=most, drop=drop)
    waiting, begun = [], []
    for what, which in steps:
        if what == "offer":
            queued = offer(queue, which)
            waiting = [one for one in waiting if queue.is_waiting(one)]
            if queued:
                waiting.append(queued)
        elif what == "refuse":
            queue.count(b"", True)
            queue.refuse("late", QueuedDatagram("z"))
        elif what == "end":
            if begun:
                queue.release(begun.pop(which % len(begun)).host)
        elif waiting:
            queued = waiting.pop(which % len(waiting))
            if what == "begin":
                queue.begin(queued)
                begun.append(queued)
            else:
                queue.discard(queued, "unread")
        queue.check()
        assert queue.pending == len(waiting)
