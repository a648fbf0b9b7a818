"""A ratio belongs to one round; medians come after."""

import pytest

from benchmarks.ratios import advantage, all_ratios, growth, middle, ratio
from benchmarks.rounds import Effort, Result


def result(**samples):
    return Result(Effort(), {}, {name.replace("_", "-"): servers for name, servers in samples.items()})


def rates(*values):
    return [{"error": "no"} if value is None else {"rate": value, "cpu_us": 1e6 / value} for value in values]


def ratio_of_lines(**rates_of):
    return ratio(result(lines=rates_of), "lines", "rate", "triosock", "trio")


def test_more_of_a_rate_and_less_of_a_cost_are_both_better():
    assert advantage("rate", 200, 100) == 2
    assert advantage("cpu_us", 10, 20) == 2
    assert advantage("idle_kib", 10, 20) == 2


def test_the_median_is_of_the_ratios_and_not_the_ratio_of_the_medians():
    found = ratio_of_lines(triosock=rates(10, 20, 90), trio=rates(10, 10, 30))
    assert found.values == (1, 2, 3)
    assert found.median == 2
    assert found.spread == (1, 3)


def test_a_failed_sample_leaves_the_other_rounds_with_their_own_partners():
    assert ratio_of_lines(triosock=rates(None, 20), trio=rates(1, 10)).values == (2,)


def test_there_is_no_ratio_of_what_was_not_measured():
    assert ratio_of_lines(triosock=rates(1)) is None
    assert ratio(result(), "lines", "rate", "triosock", "trio") is None
    assert middle([{"error": "no"}], "rate") is None


def test_growth_compares_the_rise_from_small_to_large_round_by_round():
    cpu = lambda *values: [{"cpu_us": value} for value in values]  # noqa: E731
    found = growth(
        result(
            echo_64={"triosock": [{"error": "no"}, *cpu(10)], "trio": cpu(99, 20)},
            echo_4000={"triosock": cpu(77, 15), "trio": cpu(88, 40)},
        ),
        "echo-64",
        "echo-4000",
        "triosock",
        "trio",
    )
    assert found.values == (pytest.approx(2 / 1.5),)


def test_who_is_compared_with_whom():
    servers = ("triosock", "triosock-observer", "trio", "compat-threading", "stdlib-threading")
    found = result(echo_64={name: rates(1) for name in servers})
    assert {(one.of, one.against) for one in all_ratios(found)} == {
        ("triosock", "trio"),
        ("triosock", "stdlib-threading"),
        ("triosock-observer", "triosock"),
        ("compat-threading", "stdlib-threading"),
    }
