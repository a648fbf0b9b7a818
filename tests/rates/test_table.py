"""The table of buckets: exactly a token bucket for each key, bounded, and resistant to floods."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triosock import Limits, Rate
from triosock._core.registry.rate_limits import RateLimits, keys_of_host, rates_of
from triosock._core.registry.rate_table import RateTable


class Bucket:
    """The model: tokens that are counted, as everybody explains it."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.tokens = rate.burst
        self.counted = 0.0

    def take(self, now: float) -> bool:
        back = (now - self.counted) * self.rate.count / self.rate.per
        self.tokens, self.counted = min(self.rate.burst, self.tokens + back), now
        # What floats are off by: the next token is there within a thousandth of the time of one.
        if self.tokens < 1 - 0.001:
            return False
        self.tokens -= 1
        return True


# Quarters are exact in binary: then a difference is one of the rule, and none of rounding.
quarters = st.integers(1, 40).map(lambda n: n / 4)


@given(
    count=st.sampled_from([0.5, 1, 2, 4, 8]),
    burst=st.integers(1, 6),
    steps=st.lists(st.tuples(st.integers(0, 12).map(lambda n: n / 8), st.sampled_from("abc")), max_size=60),
)
def test_each_key_is_a_token_bucket(count: float, burst: int, steps: list[tuple[float, str]]) -> None:
    rate = Rate(count, burst=burst)
    table, models = RateTable(rate, 100), {key: Bucket(rate) for key in "abc"}
    now = 0.0
    for pause, key in steps:
        now += pause
        allowed = not table.delay(key, now)
        if allowed:
            table.take(key, now)
        assert allowed == models[key].take(now)


@given(
    rate=st.builds(Rate, st.floats(0.01, 1000), per=st.floats(0.01, 100), burst=st.integers(1, 50)),
    start=st.floats(0, 1e7),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=80),
)
def test_never_more_than_the_burst_and_what_came_back(rate: Rate, start: float, pauses: list[float]) -> None:
    table, now, taken = RateTable(rate, 10), start, 0
    for pause in pauses:
        now += pause * rate.interval
        if not table.delay("x", now):
            table.take("x", now)
            taken += 1
        assert taken <= rate.burst + (now - start) / rate.interval + 0.01


@given(rate=st.builds(Rate, st.floats(0.01, 1000), burst=st.integers(1, 50)), start=st.floats(0, 1e7))
def test_a_burst_is_exact_and_the_delay_is_just_what_is_missing(rate: Rate, start: float) -> None:
    table = RateTable(rate, 10)
    for _ in range(int(rate.burst)):
        assert not table.delay("x", start)
        table.take("x", start)
    delay = table.delay("x", start)
    assert delay == pytest.approx(rate.interval, rel=0.01)
    assert not table.delay("x", start + delay)


def test_those_who_wait_are_due_one_after_the_other() -> None:
    table = RateTable(Rate(4, burst=1), 10)
    due = []
    for _ in range(4):
        due.append(table.delay("x", 100.0))
        table.take("x", 100.0)
    assert due == [0, 0.25, 0.5, 0.75]


def test_a_full_bucket_is_forgotten_when_others_come() -> None:
    table = RateTable(Rate(10, burst=10), 1000)
    for number in range(1000):
        table.take(number, 0.0)
    assert len(table) == 1000
    for number in range(1000, 5000):
        table.take(number, 100.0 + number / 100)
    # Those of the last second lack something; of the others a few are yet to be found.
    assert len(table) < 200


def test_the_table_never_has_more_than_it_may() -> None:
    table = RateTable(Rate(1, per=3600, burst=5), 64)
    for number in range(2000):
        table.take(number, number / 1000)
        assert len(table) <= 64


def test_a_flood_of_strangers_does_not_reset_who_has_taken_all() -> None:
    random.seed(5)
    table = RateTable(Rate(1, per=60, burst=10), 1000)
    for _ in range(10):
        table.take("greedy", 0.0)
    for number in range(50_000):
        table.take(number, 0.001 * number)
        assert table.delay("greedy", 0.0) > 0


def test_to_be_forgotten_costs_more_than_is_won() -> None:
    """An attacker with many addresses wants the bucket of one of them back. It pays for the others."""
    random.seed(6)
    table, deep = RateTable(Rate(1, per=3600, burst=10), 1000), 10
    for _ in range(deep):
        table.take("x", 0.0)
    paid = 0
    while table.delay("x", 0.0):
        for _ in range(deep):
            table.take(paid, 0.0)
        paid += deep
    assert paid > 100 * deep


def test_a_hundred_thousand_sources_cost_no_more_than_is_stated() -> None:
    """`Limits.max_rate_peers` says 4 MB for each rate."""
    limits = Limits(datagram_rate_per_peer=Rate(5, per=60))
    rates = rates_of(limits, "datagram_rate")
    assert rates is not None
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100_000):
            source = f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::{number:x}"
            rates.refusal(number / 10_000, rates.keys_of_host(source))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (table,) = [table for _, _, table in rates._tables]
    assert len(table) == limits.max_rate_peers
    assert held - before < 4_000_000


def test_what_one_rate_refuses_takes_nothing_of_the_others() -> None:
    limits = Limits(rate=Rate(1, burst=3), rate_per_network=Rate(1, burst=2), rate_per_peer=Rate(1, burst=1))
    rates = RateLimits(limits, "rate")
    one, two, three = (rates.keys_of_host(host) for host in ("10.0.0.1", "10.0.0.2", "10.9.0.1"))
    asked = [rates.refusal(0.0, whose) for whose in (one, one, one, one, two, two, three, three, one)]
    peer = "rate_per_peer"
    # That the third of all three is allowed says that what was refused has cost nothing.
    assert asked == [None, peer, peer, peer, None, peer, None, "rate", "rate"]


@pytest.mark.parametrize(
    ("one", "other", "same_peer", "same_network"),
    [
        ("10.0.0.1", "10.0.0.2", False, True),
        ("10.0.0.1", "10.0.1.1", False, False),
        ("10.0.0.1", "::ffff:10.0.0.1", True, True),
        ("2001:db8::1", "2001:db8:0:ff::2", False, True),
        ("2001:db8::1", "2001:db8:0:100::1", False, False),
        ("0.0.0.1", "::1", False, False),
        ("fe80::1%eth0", "fe80::1", True, True),
        ("client", "client", True, True),
        ("client", "other", False, False),
    ],
)
def test_whose_it_is(one: str, other: str, same_peer: bool, same_network: bool) -> None:
    first, second = keys_of_host(one, (24, 56)), keys_of_host(other, (24, 56))
    assert (first[0] == second[0], first[1] == second[1]) == (same_peer, same_network)


def test_no_rates_are_nothing_to_ask() -> None:
    for kind in ("rate", "request_rate", "datagram_rate"):
        assert rates_of(Limits(), kind) is None  # type: ignore[arg-type]
