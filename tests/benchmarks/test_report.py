"""The contents and the readability of the table and the picture."""

from xml.etree import ElementTree

import pytest

from benchmarks.picture import Scale, svg
from benchmarks.rounds import Effort, Result
from benchmarks.table import markdown
from benchmarks.thresholds import Threshold, Verdict

MACHINE = {"python": "3.13.0", "kernel": "6.18", "processors": 2, "versions": {"trio": "0.35.0"}}


def sample(rate, **more):
    return {
        "rate": rate,
        "cpu_us": 1e6 / rate,
        "p50_us": 1,
        "p99_us": 2,
        "rss_mib": 3,
        "count": 9,
        "lost": 0,
    } | more


@pytest.fixture
def result():
    return Result(
        Effort(rounds=2),
        MACHINE,
        {
            "lines": {"triosock": [sample(20), sample(40)], "trio": [sample(10), {"error": "deliberate"}]},
            "udp-bursts": {"epoll": [sample(5, lost=1), sample(5, lost=0)]},
            "idle": {"triosock": [{"idle_kib": 9.0}], "trio": [{"idle_kib": 4.5}]},
        },
        ["uvloop: uvloop is not installed"],
    )


def test_the_table_has_ratios_figures_failures_and_losses(result):
    text = markdown(result)
    assert "| lines, 64 connections | triosock | trio.serve_tcp | rate | 2.00 | 2.00 to 2.00 |  |  |" in text
    assert "| 10,000 idle connections | triosock | trio.serve_tcp | memory | 0.50 |" in text
    assert "| triosock | 30 |" in text
    assert "trio.serve_tcp (1 of 2 failed)" in text
    assert "| 5.3% |" in text  # one of nineteen
    assert "Skipped: uvloop: uvloop is not installed." in text
    assert "Cut short" not in text


def test_a_ratio_below_its_threshold_is_bold(result):
    threshold = Threshold("lines", "rate", "triosock", "trio", at_least=2.5, aim=3.0)
    text = markdown(result, [Verdict(threshold, threshold.find(result), 1)])
    assert "| **2.00** | 2.00 to 2.00 | 2.50 | 3.00 |" in text


def test_a_run_that_was_cut_short_says_so(result):
    result.cut_short = True
    assert "**Cut short:**" in markdown(result)


def test_the_picture_is_well_formed_and_has_a_row_for_each_pair(result):
    root = ElementTree.fromstring(svg(result))
    words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "lines, 64 connections" in words
    assert words.count("trio.serve_tcp") == 2
    assert "2.00 · 2.00" in words
    assert "memory 0.50" in words
    assert root.get("aria-label")


def test_a_picture_of_nothing_says_so():
    assert "No two servers were measured" in svg(Result(Effort(), MACHINE))


def test_twice_as_good_and_half_as_good_are_equally_far_from_even():
    scale = Scale([0.4, 2.5])
    assert scale.x(1) - scale.x(0.5) == pytest.approx(scale.x(2) - scale.x(1), abs=0.2)
    assert scale.ticks[0] <= 0.4
    assert scale.ticks[-1] >= 2.5


def test_thresholds_are_marked_in_the_picture(result):
    threshold = Threshold("lines", "rate", "triosock", "trio", at_least=1.5)
    marks = svg(result, [Verdict(threshold, threshold.find(result), 1)]).count('class="bound"')
    assert marks == 1
    assert 'class="bound"' not in svg(result)


def test_what_is_off_the_scale_is_an_arrow_and_keeps_its_figure(result):
    result.samples = {
        "shutdown": {"compat-sync": [{"shutdown_ms": 1}], "stdlib-sync": [{"shutdown_ms": 300}]}
    }
    picture = svg(result)
    assert "<path " in picture
    assert "shutdown 300" in picture
