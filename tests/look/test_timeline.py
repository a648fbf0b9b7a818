"""The timeline in a browser: display, tooltips and zoom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.observe.pages import write_page
from tests.observe.runs import record_shop

pytestmark = pytest.mark.slow

MIDDLE_OF = """
  const box = document.querySelector(arguments[0]).getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return write_page(record_shop(), tmp_path_factory)


def shown(chromium) -> tuple[float, float]:
    text = chromium.run("return document.getElementById('range').textContent")
    start, end = re.findall(r"[\d.]+", text)
    return float(start), float(end)


def details(chromium) -> str:
    return chromium.run("return document.getElementById('details').innerText")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375])
def test_it_fits_the_window_and_keeps_to_the_scheme(chromium, page, gallery, width, dark):
    chromium.open(page, width=width, dark=dark)
    assert chromium.run("return document.documentElement.scrollWidth") <= width
    back = chromium.run("return getComputedStyle(document.querySelector('.paper')).fill")
    red, green, blue = map(int, re.findall(r"\d+", back)[:3])
    assert (red + green + blue < 150) is dark
    sizes = chromium.run(
        "return [...document.querySelectorAll('#picture text')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 11
    # A text that is partly outside could not be read.
    boxes = chromium.run(
        "return [...document.querySelectorAll('#picture .word, #picture .title')]"
        ".map(e => e.getBoundingClientRect()).map(b => [b.left, b.right])"
    )
    assert all(left >= 0 and right <= width for left, right in boxes)
    chromium.picture(gallery / f"timeline-{width}-{'dark' if dark else 'light'}.png")


def test_pointing_at_a_bar_tells_what_it_was(opened, gallery):
    before = details(opened)
    opened.point(*opened.run(MIDDLE_OF, ".bar .piece.failed"))
    after = details(opened)
    assert "Point at a bar" in before
    for said in ("request 1: failed", "connection 3 of memory://shop/3", "ValueError: the <handler> & its"):
        assert said in after
    opened.picture(gallery / "timeline-hover.png")


def test_pointing_at_a_line_or_a_deadline_tells_its_cause(opened):
    opened.point(*opened.run(MIDDLE_OF, ".flag.drain rect"))
    assert "drain: 4 being served, 2 of them idle" in details(opened)
    opened.point(*opened.run(MIDDLE_OF, ".due.reached path"))
    assert "Timeouts.idle" in details(opened)


def test_the_wheel_zooms_to_where_the_mouse_is(opened, gallery):
    whole = shown(opened)
    x, y = opened.run(MIDDLE_OF, ".bar .piece.failed")
    for _ in range(3):
        opened.wheel(x, y, -300)
    start, end = shown(opened)
    assert end - start < (whole[1] - whole[0]) / 10
    assert start < 0.725 < end
    # What was under the mouse still is; what is left of the window is cut off, not drawn over the names.
    assert opened.run(
        "return document.elementFromPoint(arguments[0], arguments[1]).classList.contains('failed')", x, y
    )
    opened.picture(gallery / "timeline-zoom.png")
    for _ in range(4):
        opened.wheel(x, y, 300)
    assert shown(opened) == whole


def test_dragging_and_the_sideways_wheel_move(opened):
    opened.run("document.getElementById('in').click()")
    start, _ = shown(opened)
    opened.point(800, 300, to=(700, 300))
    dragged, _ = shown(opened)
    assert dragged > start
    opened.wheel(700, 300, 0, sideways=-100)
    assert shown(opened)[0] < dragged


def test_keys_alone_are_enough(opened):
    opened.run("document.getElementById('picture').focus()")
    whole = shown(opened)
    opened.key("+", "+", "right")
    start, end = shown(opened)
    assert (end - start, start > whole[0]) == (pytest.approx((whole[1] - whole[0]) / 4, abs=0.02), True)
    opened.key(*["down"] * 4)
    assert "connection 4 of memory://shop/4" in details(opened)
    focused = "return document.activeElement.getAttribute('aria-label').split('\\n')[0]"
    assert opened.run(focused) == "connection 4 of memory://shop/4"
    opened.key("up")
    assert "connection 3" in details(opened)
    opened.key("0")
    assert shown(opened) == whole
    opened.key("escape")
    assert "Point at a bar" in details(opened)


def test_without_scripts_the_picture_is_there(chromium, page, gallery):
    still = gallery / "still.html"
    still.write_text(re.sub(r"<script>.*</script>", "", page.read_text("utf-8"), flags=re.DOTALL), "utf-8")
    chromium.open(still)
    assert chromium.run("return document.querySelector('.piece.failed').getBoundingClientRect().width") > 20


def test_the_static_svg_opens_by_itself(chromium, gallery):
    path = gallery / "run.svg"
    record_shop().write_svg(path)
    for dark in (False, True):
        chromium.open(path, width=1000, dark=dark)
        assert chromium.run("return document.documentElement.getBBox().width") <= 1000
        chromium.picture(gallery / f"svg-{'dark' if dark else 'light'}.png")


@pytest.mark.parametrize("deficiency", ["deuteranopia", "protanopia", "tritanopia", "achromatopsia"])
def test_how_a_colour_blind_reader_sees_it_is_among_the_pictures(chromium, page, gallery, deficiency):
    chromium.open(page, width=1000, height=600)
    chromium.cdp("Emulation.setEmulatedVisionDeficiency", type=deficiency)
    try:
        chromium.picture(gallery / f"timeline-{deficiency}.png", full=False)
    finally:
        chromium.cdp("Emulation.setEmulatedVisionDeficiency", type="none")
    # What does not rest on colour: each bad end has a mark of its own shape, and waiting is thin.
    shapes = chromium.run(
        "return ['failed', 'cut', 'cancelled', 'peer'].map(kind =>"
        " document.querySelector(`#picture .end-${kind} path`).getAttribute('d'))"
    )
    assert len(set(shapes)) == 4
    heights = chromium.run(
        "return ['waiting', 'working'].map(kind =>"
        " document.querySelector(`#picture .piece.${kind}`).getBoundingClientRect().height)"
    )
    assert heights[0] * 2 < heights[1]
