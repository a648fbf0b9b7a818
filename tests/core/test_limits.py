"""A value that exists is valid: so all that can be wrong is tried when one is made."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rates.test_values import OPTIONS as RATES
from triosock._core.model.checks import check_count, check_seconds
from triosock._core.model.config import Limits, Timeouts

COUNTS = [
    "max_connections",
    "max_connections_per_peer",
    "max_connections_per_network",
    "max_handshakes",
    "max_overflowing",
    "max_requests_per_connection",
    "max_pending_datagrams",
    "max_rate_peers",
]
ABOVE_ZERO = ["handshake", "idle", "request", "send", "max_age"]
FROM_ZERO = ["close", "grace", "idle_grace"]


async def turn_away(connection: object) -> None:
    """An overflow handler."""


def test_the_fields_are_all_in_this_test() -> None:
    others = {"network_prefix", "overflow", "drop", "request_overflow", *RATES}
    others |= {"max_lag", "adaptive"}  # test_overload.py, test_adaptive_limit.py
    shares = {"max_age_jitter"}  # tests/core/test_ages.py
    assert {field.name for field in attrs.fields(Limits)} == {*COUNTS, *others}
    assert {field.name for field in attrs.fields(Timeouts)} == {*ABOVE_ZERO, *FROM_ZERO, *shares}


@pytest.mark.parametrize("options", [Limits, Timeouts])
def test_every_field_is_explained_where_people_look(options: type[Any]) -> None:
    text = inspect.getdoc(options) or ""
    for field in attrs.fields(options):
        assert f"`{field.name}`" in text
        assert field.kw_only


def test_the_defaults_are_finite_where_the_alternative_is_memory_without_bound() -> None:
    limits, timeouts = Limits(), Timeouts()
    counts = ("max_connections", "max_handshakes", "max_overflowing", "max_pending_datagrams")
    for name in (*counts, "max_rate_peers"):
        assert getattr(limits, name) < math.inf
    for name in ("handshake", "idle", "send", "close", "grace"):
        assert getattr(timeouts, name) < math.inf
    assert timeouts.handshake >= 3  # the PROXY protocol, section 2


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("bad", [0, -1, -math.inf, math.nan, 1.0, True, "5", None])
def test_a_wrong_count_is_an_error_that_names_it(name: str, bad: Any) -> None:
    kind = ValueError if type(bad) is int else TypeError
    with pytest.raises(kind, match=rf"^{name} must be .*from 1 on, or math.inf for no limit, not "):
        Limits(**{name: bad})


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_an_int_from_1_on_or_infinite(name: str) -> None:
    for good in (1, 10**100, math.inf):
        assert getattr(Limits(**{name: good}), name) == good


@pytest.mark.parametrize("name", ABOVE_ZERO + FROM_ZERO)
@pytest.mark.parametrize("bad", [-1, -0.001, -math.inf, math.nan, 10**400, True, "5", None, 1j])
def test_a_wrong_timeout_is_an_error_that_names_it(name: str, bad: Any) -> None:
    kind = ValueError if type(bad) in (int, float) else TypeError
    with pytest.raises(kind, match=f"^{name} must be a number of seconds"):
        Timeouts(**{name: bad})


def test_only_close_and_grace_may_be_zero() -> None:
    for name in FROM_ZERO:
        assert getattr(Timeouts(**{name: 0}), name) == 0
    for name in ABOVE_ZERO:
        with pytest.raises(ValueError, match=f"{name} must be a number of seconds above 0"):
            Timeouts(**{name: 0})


@given(st.floats(min_value=0, exclude_min=True) | st.integers(1, 10**9))
def test_seconds_above_zero_come_back_as_a_float_of_the_same_value(value: float) -> None:
    seconds = check_seconds(value, "wait")
    assert type(seconds) is float
    assert seconds == value


@given(st.integers(min_value=1))
def test_counts_come_back_as_they_are(value: int) -> None:
    assert check_count(value, "n") == value


@pytest.mark.parametrize("good", ["wait", "reject", turn_away, lambda connection: turn_away(connection)])
def test_overflow_is_a_word_or_a_function(good: Any) -> None:
    assert Limits(overflow=good).overflow is good


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ("drop", ValueError),
        (None, TypeError),
        (5, TypeError),
        (Limits, TypeError),
        (turn_away(None), TypeError),
    ],
)
def test_another_overflow_is_an_error_that_names_it(bad: Any, error: type[Exception]) -> None:
    with pytest.raises(
        error, match="overflow must be 'wait', 'reject' or an async function of one connection"
    ):
        Limits(overflow=bad)
    if inspect.iscoroutine(bad):
        bad.close()


def test_drop_is_newest_or_oldest() -> None:
    assert Limits(drop="oldest").drop == "oldest"
    for bad in ("random", None, 5):
        with pytest.raises(ValueError, match="drop must be 'newest' or 'oldest'"):
            Limits(drop=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad", [24, (24,), (24, 56, 1), (0, 56), (33, 56), (24, 0), (24, 129), ("24", 56), [24, 56], None]
)
def test_a_wrong_network_prefix_is_an_error_that_names_it(bad: Any) -> None:
    with pytest.raises(
        ValueError, match=re.escape("network_prefix must be a pair of prefix lengths (IPv4 1 to 32")
    ):
        Limits(network_prefix=bad)


@pytest.mark.parametrize("good", [(1, 1), (32, 128), (24, 64)])
def test_a_network_prefix_is_two_lengths(good: tuple[int, int]) -> None:
    assert Limits(network_prefix=good).network_prefix == good


@pytest.mark.parametrize("options", [Limits(), Timeouts()])
def test_options_are_frozen_hashable_values_that_are_checked_again_when_changed(options: Any) -> None:
    assert options == type(options)()
    assert hash(options) == hash(type(options)())
    first = attrs.fields(type(options))[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(options, first, 1)
    with pytest.raises(ValueError, match=first):
        attrs.evolve(options, **{first: -1})


def test_options_are_named_never_counted() -> None:
    for options in (Limits, Timeouts):
        with pytest.raises(TypeError, match="positional"):
            options(5)  # type: ignore[call-arg]
