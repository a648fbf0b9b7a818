"""The ring: what it forgets is summed up, and its memory has a bound."""

from __future__ import annotations

import tracemalloc

import hypothesis
import hypothesis.strategies as st

from triosock.observe.stepping.model import Happening, State
from triosock.observe.stepping.ring import Ring

KINDS = ["spawn", "run", "pause", "wait", "wake", "cancel", "started", "open", "close", "end", "event"]


@st.composite
def happenings(draw):
    drawn = draw(
        st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 4), st.integers(0, 3)), max_size=60)
    )
    return [
        Happening(float(at), kind, task, other=other, text=f"task {task}")
        for at, (kind, task, other) in enumerate(drawn)
    ]


def state_after(base, many):
    for one in many:
        base.apply(one)
    return {number: (task.name, task.nursery, task.kind, task.time) for number, task in base.tasks.items()}, (
        base.nurseries
    )


@hypothesis.given(happenings(), st.integers(1, 20))
def test_what_is_forgotten_and_what_is_kept_are_the_same_run(many, most):
    ring = Ring(most)
    for one in many:
        ring.add(one)
    base, kept = ring.copy()
    assert kept == many[max(0, len(many) - most) :]
    assert ring.forgotten + len(kept) == len(many)
    assert state_after(base, kept) == state_after(State(), many)
    # A copy is one: what came out of it has not been put in.
    again, _ = ring.copy()
    assert state_after(again, kept) == state_after(State(), many)


def test_a_million_events_take_no_more_memory_than_the_last_thousand():
    ring = Ring(1_000)

    def fill(start, end):
        for number in range(start, end):
            task = number // 4
            ring.add(
                Happening(float(number), ("spawn", "run", "wait", "end")[number % 4], task + 1, text="x")
            )

    fill(0, 20_000)
    tracemalloc.start()
    fill(20_000, 1_020_000)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(ring) == 1_000
    assert ring.forgotten == 1_019_000
    assert held < 500_000  # a thousand of them, made after tracemalloc began
    assert len(ring.copy()[0].tasks) <= 1
