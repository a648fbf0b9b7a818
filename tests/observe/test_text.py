"""Words for people."""

from __future__ import annotations

import math

import hypothesis
import hypothesis.strategies as st
import pytest

from triosock.observe.text import count, duration, error_text, printable


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0, "0 s"),
        (0.00034, "340 µs"),
        (0.00099949, "999 µs"),
        (0.0009996, "1 ms"),
        (0.0125, "12.5 ms"),
        (0.9996, "1 s"),
        (3.214, "3.21 s"),
        (250, "4 min 10 s"),
        (7500, "2 h 5 min"),
        (-2, "-2 s"),
        (math.inf, "no limit"),
        (math.nan, "-"),
    ],
)
def test_times(seconds, says):
    assert duration(seconds) == says


def test_counts():
    assert (count(1, "request"), count(12_000, "request"), count(2, "more", "more")) == (
        "1 request",
        "12,000 requests",
        "2 more",
    )


@hypothesis.given(st.text(max_size=400))
def test_whatever_comes_from_outside_becomes_one_printable_line(text):
    said = printable(text)
    assert said.isprintable()
    if len(text) <= 300 and text.isprintable():
        assert said == text


def test_errors():
    assert error_text(None) is None
    assert error_text(ValueError()) == "ValueError"
    assert error_text(ValueError("a\nb")) == "ValueError: a\\nb"
