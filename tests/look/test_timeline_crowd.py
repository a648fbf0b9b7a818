"""The page of a run with thousands of connections, what is searched in it, and that no row is hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.observe.crowds import record_crowd
from tests.observe.pages import write_page
from tests.observe.runs import record_shop

pytestmark = pytest.mark.slow

CROWD = 5_000


@pytest.fixture(scope="module")
def crowd():
    return record_crowd(CROWD)


@pytest.fixture(scope="module")
def page(crowd, tmp_path_factory) -> Path:
    return write_page(crowd, tmp_path_factory)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    return write_page(record_shop(), tmp_path_factory)


def fill(chromium, **fields: str) -> str:
    """Fill the form; return what it says that it has found."""
    for name, value in fields.items():
        chromium.run("document.getElementById(arguments[0]).value = arguments[1]", name, value)
    chromium.run("document.getElementById('search').dispatchEvent(new Event('input'))")
    return chromium.run("return document.getElementById('hits').textContent")


def bars(crowd):
    return crowd.picture().bands[0].boxes


def test_five_thousand_connections_are_drawn_in_two_seconds_of_work(chromium, page, gallery):
    took = []
    for width in (1200, 1200, 360):
        chromium.open(page, width=width)
        took.append(chromium.seconds_of_work())
        chromium.picture(gallery / f"timeline-crowd-{width}.png", full=False)
    assert chromium.run("return document.querySelectorAll('.bar').length") == CROWD
    assert min(took) < 2, took
    assert page.stat().st_size < 5_000_000


def test_a_crowd_is_searched_by_peer(opened, crowd):
    assert fill(opened) == "5000 in all"
    wanted = [box for box in bars(crowd) if "10.0.42.7" in box.peer]
    assert fill(opened, peer="10.0.42.7") == f"{len(wanted)} of 5000"
    listed = opened.run("return [...document.querySelectorAll('#results button')].map(e => e.textContent)")
    assert [one.split()[:2] for one in listed] == [[str(box.number), box.peer] for box in wanted]
    shown = opened.run("return [...document.querySelectorAll('.bar:not(.other)')].map(e => e.dataset.n)")
    assert sorted(map(int, shown)) == [box.number for box in wanted]


def test_by_cause_and_by_duration(opened, crowd):
    causes = opened.run("return [...document.querySelectorAll('#cause option')].map(e => e.value)")
    assert causes == ["", "failed", "finished", "idle", "peer", "request"]
    failed = [box for box in bars(crowd) if box.cause == "failed"]
    assert fill(opened, cause="failed") == f"{len(failed)} of 5000"
    long = [box for box in failed if 1.5 <= box.end - box.start <= 2]
    assert 0 < len(long) < len(failed)
    assert fill(opened, least="1500 ms", most="2") == f"{len(long)} of 5000"
    short = [box for box in bars(crowd) if box.end - box.start <= 0.1]
    assert fill(opened, cause="", least="", most="100 ms") == f"{len(short)} of 5000"
    opened.run("document.querySelector('#search [type=reset]').click()")
    assert (
        opened.run(
            "return new Promise(done => setTimeout(() => done(document.getElementById('hits').textContent)))"
        )
        == "5000 in all"
    )


def test_what_is_found_is_gone_to_and_told(opened, crowd):
    opened.key("/")
    assert opened.run("return document.activeElement.id") == "peer"
    assert fill(opened, peer="10.0.42.7:20042") == "1 of 5000"
    opened.run("document.querySelector('#results button').click()")
    assert "connection 42 of tcp://10.0.42.7:20042" in opened.run(
        "return document.getElementById('details').innerText"
    )
    assert opened.run("return document.activeElement.dataset.n") == "42"


@pytest.mark.parametrize(("width", "height"), [(1200, 420), (360, 480)])
def test_the_panel_hides_no_row(chromium, shop, width, height):
    chromium.open(shop, width=width, height=height)
    chromium.run("document.getElementById('picture').focus()")
    for _ in range(10):
        chromium.key("down")
        seen = chromium.run("""
            const bar = document.querySelector(".bar.here");
            const box = bar.querySelector(".hit").getBoundingClientRect();
            const there = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
            return [bar.contains(there), document.getElementById("details").getBoundingClientRect().bottom]
        """)
        assert seen[0]
        assert seen[1] <= height
    # The last row, and what is below it, can be scrolled to.
    last = chromium.run("""
        const scroll = document.getElementById("scroll");
        scroll.scrollTop = scroll.scrollHeight;
        const legend = document.querySelector(".legend").getBoundingClientRect();
        return [legend.bottom, document.getElementById("details").getBoundingClientRect().top]
    """)
    assert last[0] <= last[1]


def test_bars_have_names_on_a_phone(chromium, shop, gallery):
    chromium.open(shop, width=360)
    names = chromium.run("""
        return [...document.querySelectorAll(".who")].map(e => [e.textContent, e.getBoundingClientRect()])
            .map(([text, box]) => [box.left, box.right, box.height]);
    """)
    assert len(names) == 10
    plot = chromium.run("return document.querySelector('.floor').getBoundingClientRect().left")
    assert all(left >= 0 and right <= plot and height > 0 for left, right, height in names)
    shown = chromium.run(
        "return [...document.querySelectorAll('.brief')].filter(e => getComputedStyle(e).display != 'none')"
        ".map(e => e.textContent)"
    )
    assert shown == [*(f"shop/{number}" for number in range(1, 9)), "raw/1", "raw/2"]
