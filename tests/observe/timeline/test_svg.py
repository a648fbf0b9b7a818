"""The SVG, parsed: what is drawn where, and that nothing of the run can break out of it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from tests.observe.crowds import record_crowd
from tests.observe.runs import record_shop
from triosock._core.model import events
from triosock._core.model.addresses import MemoryAddress
from triosock.observe import Timeline
from triosock.observe.timeline.svg import LEGEND, _short, tick_step

NS = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def timeline():
    return record_shop()


@pytest.fixture(scope="module")
def svg(timeline):
    return ET.fromstring(timeline.svg())


def of(root, kind, tag="*"):
    return [
        e for e in root.iter() if kind in e.get("class", "").split() and tag in ("*", e.tag.removeprefix(NS))
    ]


def test_there_is_a_bar_for_each_connection_and_a_piece_for_each_request(svg, timeline):
    boxes = [box for band in timeline.picture().bands for box in band.boxes]
    bars = of(svg, "bar")
    assert [bar.get("data-n") for bar in bars] == [str(box.number) for box in boxes]
    titles = [bar.find(f"{NS}title").text for bar in bars]
    assert titles == [box.text for box in boxes]
    for bar, box in zip(bars, boxes, strict=True):
        assert len(of(bar, "piece")) == len(box.pieces)


def test_a_place_across_is_proportional_to_its_time(svg):
    rects = [e for e in svg.iter(f"{NS}rect") if e.get("data-s")]
    scale = {
        (float(e.get("x")) - 160) / float(e.get("data-s")) for e in rects if float(e.get("data-s")) > 0.5
    }
    assert max(scale) == pytest.approx(min(scale), rel=1e-3)
    for e in rects:
        wide = (float(e.get("data-e")) - float(e.get("data-s"))) * max(scale)
        assert float(e.get("width")) == pytest.approx(max(wide, 1.5), abs=0.1)


def test_failures_cuts_and_cancellations_have_a_colour_a_pattern_and_a_mark(svg):
    assert len(of(svg, "failed", "rect")) == 1 + 1  # the second one is the legend's
    assert [len(of(svg, f"end-{kind}")) - 1 for kind in ("failed", "cut", "peer", "cancelled")] == [
        1,
        2,
        2,
        1,
    ]
    style = svg.find(f"{NS}style").text
    for kind in ("failed", "cut", "cancelled"):
        assert f".timeline .{kind} {{ fill: url(#p-{kind})" in style
        assert svg.find(f".//{NS}pattern[@id='p-{kind}']") is not None


def test_lines_deadlines_and_brackets_are_there(svg):
    assert [flag.get("class").split()[1] for flag in of(svg, "flag")] == [
        "drain",
        "grace",
        "closed",
        "cancel",
        "closed",
    ]
    assert len(of(svg, "due")) == 6 + 2
    assert len(of(svg, "reached")) == 3 + 1
    closing = of(svg, "close")
    assert [float(one.get("data-s")) for one in closing] == pytest.approx([4.3, 5.0])


def test_text_of_the_run_is_escaped(timeline):
    text = timeline.svg()
    assert "the &lt;handler&gt; &amp; its \\x1b[31m error" in text
    assert "\x1b" not in text


def test_names_cannot_break_the_xml():
    timeline = Timeline()
    timeline.on_event(
        events.ServerStarted(server="</svg>\x00\ud800&", time=1.0, addresses=(MemoryAddress("<a>"),))
    )
    assert "</svg>\\x00\\ud800&" in "".join(ET.fromstring(timeline.svg()).itertext())


def test_it_loads_nothing_and_runs_nothing(timeline):
    text = timeline.svg()
    assert re.findall(r"(?:href|src)\s*=|<script|@import|url\((?!#)", text) == []
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]


def legend_of(svg):
    """The signs of the legend that is in the picture."""
    words = {one.text for one in of(svg, "dim", "text")}
    return [kind for kind, text in LEGEND if text in words]


def test_the_legend_has_what_is_drawn_and_nothing_else(svg):
    # The samples of the legend itself have no time.
    classes = [e.get("class", "") for e in svg.iter() if e.get("data-s")]
    drawn = {one.replace("end end-", "end ").removesuffix(" tiny") for one in classes}
    drawn |= {"bracket" for one in classes if one == "bracket close"}
    assert legend_of(svg) == [kind for kind, _ in LEGEND if kind in drawn]
    assert len(legend_of(svg)) > 10


def test_a_run_in_which_little_happened_has_a_short_legend():
    timeline = Timeline()
    timeline.on_event(events.ServerStarted(server="s", time=1.0, addresses=(MemoryAddress("m"),)))
    timeline.on_event(events.ServerClosed(server="s", time=2.0))
    assert legend_of(ET.fromstring(timeline.svg())) == ["door", "bracket"]


def test_a_mark_of_the_programs_own_is_drawn_and_told_as_one():
    with Timeline() as timeline:
        timeline.on_event(events.ServerStarted(server="s", time=1.0, addresses=(MemoryAddress("m"),)))
        timeline.mark("the <network> parts")
        timeline.on_event(events.ServerClosed(server="s", time=2.0))
    svg = ET.fromstring(timeline.svg())
    (mark,) = (one for one in of(svg, "mark") if one.get("data-s"))
    assert mark.find(f"{NS}title").text == "the <network> parts"
    assert legend_of(svg) == ["door", "point mark", "bracket"]


def test_each_piece_that_is_drawn_has_a_word(svg):
    drawn = {
        " ".join(e.get("class").split()[:2]) for e in svg.iter() if e.get("class", "").startswith("piece")
    }
    assert drawn - {"piece broken"} <= {kind for kind, _ in LEGEND} | {
        "piece failed",
        "piece cut",
        "piece cancelled",
    }


def test_it_is_light_and_dark(svg):
    style = svg.find(f"{NS}style").text
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    names = set(re.findall(r"--([a-z]+):", light))
    assert names
    assert names == set(re.findall(r"--([a-z]+):", dark))


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_and_signs_stand_out_from_the_paper(svg, scheme):
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for what one must see (1.4.11)."""
    part = svg.find(f"{NS}style").text.split("@media (prefers-color-scheme: dark)")[scheme]
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", part))

    def contrast(one, other):
        a, b = sorted((_luminance(colours[one]), _luminance(colours[other])))
        return (b + 0.05) / (a + 0.05)

    for name in ("ink", "dim"):
        assert contrast(name, "paper") >= 4.5, name
        assert contrast(name, "floor") >= 4.5, name
    for name in ("working", "shake", "failed", "cancelled", "peer"):
        assert contrast(name, "floor") >= 3, name


@pytest.mark.parametrize(
    ("span", "most", "step"),
    [(5.2, 8, 1.0), (5.2, 12, 0.5), (0.001, 10, 0.0001), (3600, 10, 500), (1, 10, 0.1)],
)
def test_ticks_are_round_numbers(span, most, step):
    assert tick_step(span, most) == pytest.approx(step)


@pytest.mark.parametrize("width", [360, 1000])
def test_the_key_says_all_whatever_the_width(timeline, width):
    root = ET.fromstring(timeline.svg(width=width))
    lines = ["".join(e.itertext()) for e in root.iter(f"{NS}text") if e.get("class") == "key"]
    said = " ".join(lines)
    for band in timeline.picture().bands:
        for flag in band.flags:
            assert f"{flag.letter} {flag.text} ({band.title})" in " ".join(said.split())
    assert max(map(len, lines)) * 7 <= width


def test_a_narrow_one_is_as_wide_as_asked_for(timeline):
    root = ET.fromstring(timeline.svg(width=375))
    assert root.get("width") == "375"
    right = max(float(e.get("x")) + float(e.get("width")) for e in root.iter(f"{NS}rect") if e.get("data-s"))
    assert right <= 375
    # There is no room for peers beside the bars; pointed at, they still say it.
    assert [e for e in root.iter(f"{NS}tspan") if e.get("class") == "peer"] == []
    heads = [e.text for e in root.iter(f"{NS}text") if e.get("class") == "head"]
    assert " ".join(heads) == timeline.picture().summary
    assert max(map(len, heads)) * 9 <= 375


def test_a_crowd_is_drawn_with_what_can_be_seen_of_it():
    timeline = record_crowd(600)
    (band,) = timeline.picture().bands
    text = timeline.svg()
    bars = of(ET.fromstring(text), "bar")
    assert len(bars) == 600
    boxes = {str(box.number): box for box in band.boxes}
    for bar in bars:
        box = boxes[bar.get("data-n")]
        assert (bar.get("data-p"), bar.get("data-c")) == (box.peer, box.cause)
        assert bar.find(f"{NS}title").text == box.text
        assert len(of(bar, "working")) + len(of(bar, "failed")) + len(of(bar, "cut")) + len(
            of(bar, "broken")
        ) == sum(piece.kind == "working" for piece in box.pieces)
        assert len(of(bar, "tiny")) == (box.end_kind != "finished")
    assert len(text) < 1_000 * len(bars)


def test_a_narrow_picture_has_names_too():
    timeline = record_shop()
    narrow = ET.fromstring(timeline.svg(width=360))
    assert [one.text for one in of(narrow, "brief")][:2] == ["shop/1", "shop/2"]
    assert of(narrow, "peer", "tspan") == []
    wide = ET.fromstring(timeline.svg())
    assert [one.text for one in of(wide, "peer", "tspan")][:2] == ["memory://shop/1", "memory://shop/2"]


@pytest.mark.parametrize(
    ("peer", "most", "short"),
    [
        ("tcp://127.0.0.1:54321", 22, "tcp://127.0.0.1:54321"),
        ("tcp://127.0.0.1:54321", 11, "….0.1:54321"),
        ("memory://shop/1", 11, "shop/1"),
        ("tcp://[2001:db8:0:0:1::ff]:54321", 22, "tcp://[2…:1::ff]:54321"),
        ("", 11, ""),
    ],
)
def test_a_name_is_cut_where_it_tells_least(peer, most, short):
    assert _short(peer, most) == short
    assert len(short) <= most
