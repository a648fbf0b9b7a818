"""Rates as values: a valid one can be enforced, and an error says what to write instead."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from triosock import Limits, Rate

OPTIONS = [
    f"{kind}{whose}"
    for kind in ("rate", "request_rate", "datagram_rate")
    for whose in ("", "_per_peer", "_per_network")
]
WRONG_NUMBERS = [0, -1, -0.5, 0.0, math.nan, math.inf, -math.inf, 10**400]
NO_NUMBERS = ["20", None, True, 1j, [20]]


@pytest.mark.parametrize("bad", WRONG_NUMBERS + NO_NUMBERS)
@pytest.mark.parametrize("argument", ["count", "per", "burst"])
def test_what_is_no_rate_is_an_error_that_names_the_argument(argument: str, bad: Any) -> None:
    given: dict[str, Any] = {"count": 20, "per": 1, "burst": 40, argument: bad}
    kind = ValueError if type(bad) in (int, float) else TypeError
    text = f"^{argument} of a Rate must be a finite number (above 0|from 1 on), not "
    with pytest.raises(kind, match=text):
        Rate(given.pop("count"), **given)


def test_a_burst_is_one_at_least() -> None:
    with pytest.raises(ValueError, match=r"burst of a Rate must be a finite number from 1 on, not 0\.5"):
        Rate(20, burst=0.5)
    assert Rate(0.5).burst == 1
    assert Rate(20).burst == 20
    assert Rate(20, burst=1.5).burst == 1.5


def test_more_than_a_clock_can_tell_apart_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"a Rate may be 1,000,000 in a second at most, not 2e\+06/1s"):
        Rate(2_000_000)
    with pytest.raises(ValueError, match="must get its burst back in a time that can be counted"):
        Rate(1e-200, burst=1e200)
    assert Rate(1_000_000).interval == 1e-6


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20/s", Rate(20)),
        ("20/s:40", Rate(20, burst=40)),
        (" 100/10s ", Rate(100, per=10)),
        ("600/m:10", Rate(600, per=60, burst=10)),
        ("1/2.5h", Rate(1, per=9000)),
        ("0.5/s", Rate(0.5)),
    ],
)
def test_a_rate_is_written_as_count_period_and_burst(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert Rate.parse(str(rate)) == rate


NO_PERIODS = ["", "20", "20/", "/s", "20/d", "-1/s", "nan/s", "inf/s", "1e9/s"]
NO_BURSTS = ["20/s:", "20/s:x", "20/s 40"]


@pytest.mark.parametrize("text", NO_PERIODS + NO_BURSTS)
def test_what_is_not_written_so_is_an_error_that_shows_how(text: str) -> None:
    with pytest.raises(ValueError, match="a rate is written COUNT/PERIOD or COUNT/PERIOD:BURST, such as"):
        Rate.parse(text)


@pytest.mark.parametrize("text", ["0/s", "20/0s", "20/s:0"])
def test_zero_is_no_rate_when_it_is_written_either(text: str) -> None:
    with pytest.raises(ValueError, match="of a Rate must be a finite number"):
        Rate.parse(text)


def test_text_is_wanted_where_text_is_parsed() -> None:
    with pytest.raises(TypeError, match="a rate is written as text such as '20/s:40', not 20"):
        Rate.parse(20)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("bad", [20, "20/s", math.inf, (20, 1), Rate])
def test_limits_take_rates_and_say_how_to_make_one(name: str, bad: Any) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be a triosock.Rate\(…\), such as Rate\(20, per=1"):
        Limits(**{name: bad})


@pytest.mark.parametrize("name", OPTIONS)
def test_no_rate_is_the_default(name: str) -> None:
    assert getattr(Limits(), name) is None
    rate = Rate(20)
    assert getattr(Limits(**{name: rate}), name) is rate  # type: ignore[arg-type]


def test_requests_wait_or_are_refused_and_nothing_else() -> None:
    with pytest.raises(ValueError, match="request_overflow must be 'wait' or 'reject', not 'drop'"):
        Limits(request_overflow="drop")  # type: ignore[arg-type]


def test_a_rate_is_a_value() -> None:
    rate = Rate(20, per=1, burst=40)
    assert pickle.loads(pickle.dumps(rate)) == rate
    assert hash(rate) == hash(Rate(20, per=1, burst=40))
    with pytest.raises(AttributeError):
        rate.count = 5  # type: ignore[misc]
