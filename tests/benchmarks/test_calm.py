"""A sample is of a machine as it mostly is, or says that it is not; what it says has no part in that."""

import itertools
import os

import pytest

from benchmarks.calm import LOOKS, PAUSE, TOLERATED, Calm, take_calmly

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen here"
)


class Looks:
    """In the place of Calm: says these, one after the other."""

    def __init__(self, *looks, reserve=100.0):
        self._looks = iter(looks)
        self.reserve = reserve

    def strangeness(self):
        return next(self._looks)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


def taken(calm, patience=8.0):
    """Which sample is kept, and how long it took; each one takes a second."""
    clock, numbers = Clock(), itertools.count()

    def take():
        clock.now += 1
        return {"rate": next(numbers)}

    return take_calmly(take, calm, patience, clock=clock, wait=clock.wait), clock.now


def test_a_calm_machine_is_measured_at_once():
    assert taken(Looks(1.0, TOLERATED)) == ({"rate": 0}, 1)


def test_a_disturbed_machine_is_waited_for():
    assert taken(Looks(1.5, 1.5, 1.0, 1.0)) == ({"rate": 0}, 1 + 2 * PAUSE)


def test_a_sample_in_whose_time_it_was_disturbed_is_taken_again():
    assert taken(Looks(1.0, 1.5, 1.0, 1.0)) == ({"rate": 1}, 2)


def test_patience_ends_and_then_the_sample_says_so():
    sample, took = taken(Looks(*[1.5] * 1000), patience=3.0)
    assert sample == {"rate": 0, "disturbed": 1.0}
    assert took == pytest.approx(4, abs=PAUSE)


def test_a_failed_sample_is_kept_whatever_the_machine_did():
    calm = Looks(1.0)
    assert take_calmly(lambda: {"error": "died"}, calm, 8.0) == {"error": "died"}


def test_a_run_as_a_whole_does_not_wait_for_ever():
    calm = Looks(*[1.5] * 1000, reserve=5.0)
    took = [taken(calm)[1] for _ in range(3)]
    assert took == pytest.approx([6, 1, 1], abs=2 * PAUSE)


def test_strange_is_what_is_slower_or_faster_than_mostly():
    clock, takes = Clock(), [1.0]
    processors = os.sched_getaffinity(0)
    calm = Calm(processors, work=lambda: clock.wait(takes[0]), clock=clock)
    assert clock.now == LOOKS * 2 * len(processors)
    assert calm.strangeness() == 1.0
    takes[0] = 1.5
    assert calm.strangeness() == 1.5
    takes[0] = 0.5
    assert calm.strangeness() == 2.0
    takes[0] = 1.5  # for good
    assert [calm.strangeness() for _ in range(LOOKS)][-1] == 1.0
    assert os.sched_getaffinity(0) == processors
