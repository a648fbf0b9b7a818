"""The ratios as a picture: a row for each pair, a dot at the median, a line from lowest to highest.

The scale is logarithmic, with the even 1 marked: twice as good and half as good are equally far from it.
Colours follow the reader's light or dark setting where the viewer passes it on, and are readable on both
where it does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from .peers import BY_NAME as PEERS
from .ratios import Ratio, all_ratios
from .rounds import Result
from .table import MEASURES
from .thresholds import Threshold, Verdict
from .works import BY_NAME as WORKS

WIDTH, LABELS, FIGURES, ROW, TOP = 860, 250, 130, 18, 64
#: What lies beyond the last mark becomes an arrow at the edge, or one row would press all others together.
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
COLOURS = {"rate": "#2f7ed8", "cpu_us": "#d9730d"}
OTHER = "#2a9d6f"
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #57606a } .title { font-weight: 600; fill: #24292f }
.bound { stroke: #d1242f; stroke-width: 2 }
.grid { stroke: #8c959f; stroke-opacity: .3 } .even { stroke: #8c959f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #9da7b3 } .title { fill: #e6edf3 } }
"""

Row = tuple[str, list[Ratio]]
Key = tuple[str, str, str, str]


class Scale:
    """From a ratio to a place on the paper; both ends are marks of the axis, and 1 is always between them."""

    def __init__(self, values: list[float]) -> None:
        low, high = min([*values, 0.8]), max([*values, 1.25])
        self.low = max((tick for tick in TICKS if tick <= low), default=TICKS[0])
        self.high = min((tick for tick in TICKS if tick >= high), default=TICKS[-1])

    @property
    def ticks(self) -> list[float]:
        return [tick for tick in TICKS if self.low <= tick <= self.high]

    def x(self, ratio: float) -> float:
        share = math.log(ratio / self.low) / math.log(self.high / self.low)
        return round(LABELS + min(1.0, max(0.0, share)) * (WIDTH - LABELS - FIGURES), 1)


def svg(result: Result, verdicts: Sequence[Verdict] = ()) -> str:
    """The whole picture, with the thresholds marked; a result without any ratio gives one that says so."""
    bounds = {key(one.threshold): one.threshold.at_least for one in verdicts if not one.threshold.baseline}
    groups = rows_by_work(list(all_ratios(result)))
    scale = Scale(
        [value for _, rows in groups for _, ratios in rows for one in ratios for value in one.spread]
    )
    height = TOP + sum(ROW * (len(rows) + 1.5) for _, rows in groups) + ROW
    body = "\n".join([*legend(result), *axis(scale, height), *drawn(groups, scale, bounds)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="How many times better triosock does each work than its peers">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def rows_by_work(ratios: list[Ratio]) -> list[tuple[str, list[Row]]]:
    grouped: dict[str, dict[str, list[Ratio]]] = {}
    for one in ratios:
        grouped.setdefault(one.work, {}).setdefault(label(one), []).append(one)
    return [(WORKS[work].title, list(rows.items())) for work, rows in grouped.items()]


def label(one: Ratio) -> str:
    """The peer, if it is triosock's; else both, in short."""
    if one.of.startswith("compat-"):
        return PEERS[one.against].label.replace("socketserver", "compat ÷ socketserver")
    return PEERS[one.against].label if one.of == "triosock" else f"{PEERS[one.of].label} ÷ default"


def key(one: Ratio | Threshold) -> Key:
    return one.work, one.measure, one.of, one.against


def legend(result: Result) -> Iterator[str]:
    yield text(0, 16, "How many times better triosock is than each peer (right of 1: better)", "title")
    yield text(
        0, 34, f"Dots: median of {result.effort.rounds} rounds; lines: lowest to highest; red: threshold."
    )
    for place, (measure, colour) in enumerate([*COLOURS.items(), ("", OTHER)]):
        x = LABELS + 250 + 90 * place
        yield f'<circle cx="{x}" cy="30" r="4" fill="{colour}"/>'
        yield text(x + 9, 34, {"rate": "rate", "cpu_us": "CPU time"}.get(measure, "the figure named"))


def axis(scale: Scale, height: float) -> Iterator[str]:
    for tick in scale.ticks:
        x = scale.x(tick)
        kind = "even" if tick == 1 else "grid"
        yield f'<line class="{kind}" x1="{x}" x2="{x}" y1="{TOP - 6}" y2="{height - ROW:.0f}"/>'
        yield text(x, TOP - 10, f"{tick:g}", anchor="middle")


def drawn(groups: list[tuple[str, list[Row]]], scale: Scale, bounds: dict[Key, float]) -> Iterator[str]:
    y = TOP + ROW * 0.5
    if not groups:
        yield text(0, y, "No two servers were measured on the same work.")
    for title, rows in groups:
        y += ROW
        yield text(0, y, title, "title")
        for words, ratios in rows:
            y += ROW
            yield text(12, y, words)
            for number, one in enumerate(ratios):
                yield from mark(
                    one, scale, y - 4 + (number - (len(ratios) - 1) / 2) * 6, bounds.get(key(one))
                )
            figures = " · ".join(figure(one) for one in ratios)
            yield text(WIDTH - FIGURES + 12, y, figures)
        y += ROW * 0.5


def figure(one: Ratio) -> str:
    value = f"{one.median:.2f}" if one.median < 10 else f"{one.median:.0f}"
    return value if one.measure in COLOURS else f"{MEASURES.get(one.measure, one.measure)} {value}"


def mark(one: Ratio, scale: Scale, y: float, bound: float | None) -> Iterator[str]:
    colour = COLOURS.get(one.measure, OTHER)
    low, high = one.spread
    ends = f'x1="{scale.x(low)}" x2="{scale.x(high)}" y1="{y:.1f}" y2="{y:.1f}"'
    yield f'<line {ends} stroke="{colour}" stroke-width="2"/>'
    if bound is not None and bound <= scale.high:
        x = scale.x(bound)
        yield f'<line class="bound" x1="{x}" x2="{x}" y1="{y - 3:.1f}" y2="{y + 3:.1f}"/>'
    x = scale.x(one.median)
    if one.median > scale.high:
        yield f'<path d="M{x - 5},{y - 4:.1f} l9,4 l-9,4 z" fill="{colour}"/>'
    else:
        yield f'<circle cx="{x}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    described = f' class="{kind}"' if kind else ""
    return f'<text{described} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
