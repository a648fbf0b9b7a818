"""Draws a picture as SVG: a complete file, or the part of a page that can be zoomed.

The rules:

1. Each element with a place in time has that time in seconds too, in `data-s` and `data-e`. The page moves
   the elements that have these attributes, and uses nothing else of the picture.
2. An element with a description has a `<title>`, which browsers show when the pointer is on it.
3. Text of the run is escaped once, in this file.
"""

from __future__ import annotations

import math
import textwrap
from html import escape
from pathlib import Path
from typing import Final

from .layout import Band, Box, Flag, Picture, Piece

WIDTH: Final = 1000
#: The width for the names of bars, in pixels: with whole peers, and with shortened ones, for phones.
GUTTER: Final = 160
NARROW_GUTTER: Final = 104
#: The height of a row, in pixels, from which on it has names and small signs.
ROOM_FOR_WORDS: Final = 14
#: With more connections of one server, each bar is drawn with fewer elements.
CROWD: Final = 500
RIGHT: Final = 26
AXIS: Final = 26
STYLE: Final = (Path(__file__).parent / "style.css").read_text("utf-8")

#: Patterns by name: the size of the tile, the colour, the opacity of the ground, and the path on it.
_PATTERNS: Final = {
    "handler": (8, "handler", ".35", "M-2 6 l4 4 M-2 -2 l12 12 M6 -2 l4 4"),
    "many": (6, "working", ".35", "M2 0 v6 M5 0 v6"),
    "shake": (6, "shake", ".3", "M1 1 h2 v2 h-2 z"),
    "failed": (6, "failed", ".75", "M0 0 l6 6 M6 0 l-6 6"),
    "cut": (8, "cut", ".5", "M-2 2 l4 -4 M-2 10 l12 -12 M6 10 l4 -4"),
    "cancelled": (6, "cancelled", ".45", "M0 2 h6 M0 5 h6"),
    "peer": (6, "peer", ".4", "M1 1 h2 v2 h-2 z M4 4 h2 v2 h-2 z"),
}
#: The marks at the end of a bar, around (0, 0).
ENDS: Final = {
    "finished": "M0 -7 v14",
    "open": "M2 -5 l5 5 l-5 5",
    "failed": "M-1 -5 l10 10 M9 -5 l-10 10",
    "cut": "M-1 -7.5 h5 v15 h-5 z",
    "cancelled": "M4 -7 l7 7 l-7 7 l-7 -7 z",
    "peer": "M-1 6 h12 l-6 -12 z",
}
POINTS: Final = {
    "refused": "M-4 -3 h8 l-4 6 z",
    "full": "M-4 -4 h8 v2 h-8 z",
    "error": "M-4 -4 l8 8 M4 -4 l-8 8",
    "mark": "M0 -5 l4 5 l-4 5 l-4 -5 z",
}
DUE: Final = "M0 10 V-5 M-4.5 -12 h9 l-4.5 7 z"

#: The legend: the class of a sign, and its meaning.
LEGEND: Final = (
    ("piece working", "working on a request"),
    ("piece waiting", "waiting for the peer"),
    ("piece handler", "in its handler (no request marked)"),
    ("piece handshake", "handshake"),
    ("piece many", "many requests, drawn as one"),
    ("end failed", "failed"),
    ("end cut", "cut by a deadline"),
    ("end cancelled", "cancelled from around"),
    ("end peer", "the peer broke off"),
    ("end finished", "finished"),
    ("end open", "still open"),
    ("due reached", "deadline that cut"),
    ("due", "deadline not reached"),
    ("door", "doors open: accepting"),
    ("point refused", "refused, or a datagram dropped"),
    ("point full", "full: a limit is reached"),
    ("point error", "accept failed, datagrams lost"),
    ("point mark", "marked by the program, such as a fault of a simulation"),
    ("bracket", "closing bracket: nothing is left"),
)


class Drawing:
    """Draws one picture, once. `width` is in pixels, from 300 on."""

    def __init__(self, picture: Picture, width: int = WIDTH) -> None:
        self._picture = picture
        self._width = width
        #: Peers are named beside the bars where there is room for that.
        self._gutter = GUTTER if width >= 600 else NARROW_GUTTER
        self._for_page = False
        self._span = picture.end * 1.04 if picture.end > 0 else 1.0
        most = max((band.rows for band in picture.bands), default=0)
        self._is_crowd = max((len(band.boxes) for band in picture.bands), default=0) > CROWD
        self._row = 24 if most <= 24 else 14 if most <= (60 if self._is_crowd else 200) else 6
        self._out: list[str] = []
        self._y = 0.0

    def plot(self) -> str:
        """Return the `<svg>` element with the lanes, for a page that has its own legend and style."""
        self._for_page = True
        self._lanes()
        return self._wrap()

    def whole(self) -> str:
        """Return the `<svg>` element with the lanes, the key and the legend."""
        for number, line in enumerate(textwrap.wrap(self._picture.summary, int((self._width - 12) / 9))):
            self._out.append(f'<text class="head" x="6" y="{20 + 20 * number}">{escape(line)}</text>')
            self._y = 28.0 + 20 * number
        self._lanes()
        self._key()
        self._legend()
        return self._wrap()

    def _wrap(self) -> str:
        size = f'width="{self._width}" height="{self._y:.0f}" viewBox="0 0 {self._width} {self._y:.0f}"'
        patterns = "".join(
            f'<pattern id="p-{name}" width="{tile}" height="{tile}" patternUnits="userSpaceOnUse">'
            f'<rect width="{tile}" height="{tile}" style="fill:var(--{colour});opacity:{ground}"/>'
            f'<path d="{path}" style="stroke:var(--{colour});stroke-width:1.6;fill:none"/></pattern>'
            for name, (tile, colour, ground, path) in _PATTERNS.items()
        )
        plot_width = self._width - self._gutter
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline" role="img" {size} '
            f'data-span="{self._span:.9g}" data-right="{RIGHT}" data-gutter="{self._gutter}">'
            f"<title>Timeline: {escape(self._picture.summary)}</title><style>{STYLE}</style>"
            f'<defs>{patterns}<clipPath id="plot"><rect x="{self._gutter - 3}" y="0" '
            f'width="{plot_width + 3}" height="{self._y:.0f}"/></clipPath></defs>'
            f'<rect class="paper" width="100%" height="100%"/>{"".join(self._out)}</svg>'
        )

    # Across

    def _x(self, when: float) -> float:
        return round(self._gutter + when / self._span * (self._width - self._gutter - RIGHT), 2)

    def _rect(self, kind: str, start: float, end: float, y: float, height: float, inside: str = "") -> str:
        x, stop = self._x(start), self._x(end)
        return (
            f'<rect class="{kind}" data-s="{start:.9g}" data-e="{end:.9g}" x="{x}" y="{y:g}" '
            f'width="{max(stop - x, 1.5):.2f}" height="{height:g}">{inside}</rect>'
        )

    def _mark(self, kind: str, when: float, y: float, inside: str) -> str:
        return (
            f'<g class="{kind}" data-s="{when:.9g}" data-y="{y:g}" '
            f'transform="translate({self._x(when)} {y:g})">{inside}</g>'
        )

    # Down

    def _lanes(self) -> None:
        top = self._y + AXIS
        lanes, self._out, self._y = self._out, [], top
        for band in self._picture.bands:
            self._band(band)
        bands, self._out = self._out, lanes
        self._out += ['<g class="axis">', *self._ticks(top), "</g>", *bands]

    def _ticks(self, top: float) -> list[str]:
        out = []
        step = tick_step(self._span, (self._width - self._gutter) / 95)
        digits = max(0, -math.floor(math.log10(step)))
        for number in range(int(self._span / step) + 1):
            x = self._x(number * step)
            out.append(f'<line x1="{x}" x2="{x}" y1="{top - 4:g}" y2="{self._y:g}"/>')
            label = f"{number * step:.{digits}f} s"
            out.append(f'<text x="{x}" y="{top - 9:g}" text-anchor="middle">{label}</text>')
        return out

    def _doors_and_points(self, band: Band, top: float) -> None:
        for begin, shut in band.doors:
            told = f"<title>doors open: accepting, {shut - begin:.4g} s</title>"
            self._out.append(self._rect("door", begin, shut, top + 4, 6, told))
        for point in band.points:
            told = f'<title>{escape(point.text)}</title><path d="{POINTS[point.kind]}"/>'
            self._out.append(self._mark(f"point {point.kind}", point.time, top + 7, told))

    def _band(self, band: Band) -> None:
        levels = min(3, len(band.flags))
        self._out.append('<g class="band">')
        self._out.append(
            f'<text class="title" x="6" y="{self._y + 15:g}">{escape(band.title)}'
            f"<title>{escape(band.text)}</title></text>"
        )
        flags_at = self._y + 22
        top = flags_at + levels * 17 + 2
        bars_at = top + 16
        bottom = bars_at + band.rows * self._row + 4
        until = self._picture.end if band.end is None else band.end
        self._out.append('<g clip-path="url(#plot)">')
        self._out.append(self._rect("floor", band.start, until, top, bottom - top))
        self._doors_and_points(band, top)
        # In a row that is shared, the mark of a bad end must not vanish behind the next bar.
        shared = band.rows < len(band.boxes)
        for box in sorted(band.boxes, key=lambda box: shared and box.end_kind in _BADLY):
            self._box(box, bars_at + box.row * self._row)
        self._bracket(band, top, bottom)
        for number, flag in enumerate(band.flags):
            self._flag(flag, flags_at + number % 3 * 17, bottom)
        self._out.append("</g>")
        self._names(band, top, bars_at)
        self._out.append("</g>")
        self._y = bottom + 14

    def _names(self, band: Band, top: float, bars_at: float) -> None:
        self._out.append(f'<text class="dim" x="6" y="{top + 11:g}">doors</text>')
        if len(band.boxes) != band.rows or self._row < ROOM_FOR_WORDS:
            return
        for box in band.boxes:
            y = bars_at + (box.row + 0.5) * self._row + 4
            # A page shows one of the two, depending on its width.
            peer = f'<tspan class="peer" dx="6">{escape(_short(box.peer, 22))}</tspan>'
            brief = f'<tspan class="brief" dx="4">{escape(_short(box.peer, 11))}</tspan>'
            names = f"{peer}{brief}" if self._for_page else peer if self._gutter == GUTTER else brief
            self._out.append(f'<text class="who" x="6" y="{y:g}">{box.number}{names}</text>')

    def _box(self, box: Box, y: float) -> None:
        middle = y + self._row / 2
        self._out.append(
            f'<g class="bar" tabindex="-1" data-s="{box.start:.9g}" data-n="{box.number}" '
            f'data-p="{escape(box.peer)}" data-c="{escape(box.cause)}">'
        )
        self._out.append(f"<title>{escape(box.text)}</title>")
        self._out.append(self._rect("hit", box.start, box.end, y, self._row))
        if self._is_crowd or self._row < ROOM_FOR_WORDS:
            self._small(box, middle)
        else:
            self._large(box, middle)
        self._out.append("</g>")

    def _small(self, box: Box, middle: float) -> None:
        """Draw a bar among thousands with few elements, so that a page opens soon: work, and a bad end."""
        if any(piece.kind == "waiting" for piece in box.pieces):
            height = self._row * 0.22
            self._out.append(self._rect("piece waiting", box.start, box.end, middle - height / 2, height))
        for piece in box.pieces:
            if piece.kind != "waiting":
                self._piece(piece, middle)
        if box.end_kind != "finished":
            shape = f'<path d="{ENDS[box.end_kind]}"/>'
            self._out.append(self._mark(f"end end-{box.end_kind} tiny", box.end, middle, shape))

    def _large(self, box: Box, middle: float) -> None:
        for piece in box.pieces:
            self._piece(piece, middle)
        for due in box.dues:
            if due.time > box.end:
                self._out.append(self._rect("lead", box.end, due.time, middle, 0.1))
        end = f'<path d="{ENDS[box.end_kind]}"/>'
        self._out.append(self._mark(f"end end-{box.end_kind}", box.end, middle, end))
        for due in box.dues:
            told = f'<title>{escape(due.text)}</title><path d="{DUE}"/>'
            self._out.append(self._mark("due reached" if due.hit else "due", due.time, middle, told))

    def _piece(self, piece: Piece, middle: float) -> None:
        share = {"waiting": 0.22, "handshake": 0.45, "handler": 0.45}.get(piece.kind, 0.6)
        height = self._row * share
        kind = piece.kind if piece.end_kind in ("finished", "open") else _BADLY[piece.end_kind]
        told = f"<title>{escape(piece.text)}</title>" if piece.text and not self._is_crowd else ""
        self._out.append(
            self._rect(f"piece {kind}", piece.start, piece.end, middle - height / 2, height, told)
        )

    def _bracket(self, band: Band, top: float, bottom: float) -> None:
        tall = bottom - top
        self._out.append(self._mark("bracket open", band.start, top, f'<path d="M5 0 H0 V{tall:g} H5"/>'))
        if band.end is not None:
            shape = f'<path d="M-5 0 H0 V{tall:g} H-5"/><title>{escape(band.text)}</title>'
            self._out.append(self._mark("bracket close", band.end, top, shape))

    def _flag(self, flag: Flag, y: float, bottom: float) -> None:
        left = " left" if self._x(flag.time) > self._width * 0.72 else ""
        inside = (
            f'<title>{escape(flag.text)}</title><line y1="0" y2="{bottom - y:g}"/>'
            f'<rect x="-8" y="0" width="16" height="15" rx="3"/>'
            f'<text class="letter" y="11.5">{flag.letter}</text>'
            f'<text class="word" x="11" y="11.5">{flag.word}</text>'
        )
        self._out.append(self._mark(f"flag {flag.kind}{left}", flag.time, y, inside))

    # Below the lanes, in a file without a page

    def _key(self) -> None:
        self._y += 6
        for band in self._picture.bands:
            for flag in band.flags:
                self._say(f"{flag.letter}  {flag.text}" + (f"  ({band.title})" if self._many_bands else ""))
        for note in self._picture.notes:
            self._say(f"Note: {note}.")

    @property
    def _many_bands(self) -> bool:
        return len(self._picture.bands) > 1

    def _say(self, text: str) -> None:
        # Wide enough for most fonts; an SVG cannot wrap by itself.
        for number, line in enumerate(textwrap.wrap(text, int((self._width - 24) / 7))):
            self._y += 15 if number else 18
            x = 24 if number else 6
            self._out.append(f'<text class="key" x="{x}" y="{self._y:g}">{escape(line)}</text>')

    def legend(self) -> list[tuple[str, str]]:
        """Return the entries of LEGEND whose signs are in the picture, when it is drawn."""
        drawn = "".join(self._out)
        return [(kind, words) for kind, words in LEGEND if _attribute(kind) in drawn]

    def _legend(self) -> None:
        columns = max(1, self._width // 280)
        for number, (kind, words) in enumerate(self.legend()):
            x = 6 + number % columns * (self._width - 12) / columns
            if number % columns == 0:
                self._y += 22
            self._out.append(
                f'<g transform="translate({x:.1f} {self._y:g})">{swatch(kind)}'
                f'<text class="dim" x="36" y="4">{escape(words)}</text></g>'
            )
        self._y += 16


_BADLY: Final = {"failed": "failed", "cut": "cut", "cancelled": "cancelled", "peer": "broken"}


def _attribute(kind: str) -> str:
    """Return the beginning of the class of the elements to which an entry of LEGEND belongs."""
    what, _, which = kind.partition(" ")
    if what == "end":
        return f'class="end end-{which}'
    return 'class="bracket close"' if what == "bracket" else f'class="{kind}"'


def swatch(kind: str) -> str:
    """Return a sample of a sign, 28 pixels wide, centred at y=0."""
    what, _, which = kind.partition(" ")
    if what == "piece":
        height = {"waiting": 6, "handshake": 12, "handler": 12}.get(which, 16)
        return f'<rect class="piece {which}" y="{-height / 2:g}" width="28" height="{height}"/>'
    if what == "end":
        piece = {"failed": "failed", "cut": "cut", "cancelled": "cancelled", "peer": "broken"}.get(which)
        rect = f'<rect class="piece {piece or "waiting"}" y="-5" width="16" height="10"/>'
        return f'{rect}<g class="end end-{which}" transform="translate(16 0)"><path d="{ENDS[which]}"/></g>'
    if what == "due":
        return f'<g class="{kind}" transform="translate(14 1) scale(.8)"><path d="{DUE}"/></g>'
    if what == "door":
        return '<rect class="door" y="-3" width="28" height="6"/>'
    if what == "point":
        return f'<g class="{kind}" transform="translate(14 0)"><path d="{POINTS[which]}"/></g>'
    return '<g class="bracket" transform="translate(17 0)"><path d="M-5 -8 H0 V8 H-5"/></g>'


def tick_step(span: float, most: float) -> float:
    """Return 1, 2 or 5 times a power of ten so that at most about `most` steps fit into `span`."""
    rough = span / max(most, 1.0)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def _short(peer: str, most: int) -> str:
    """Return a name shortened to `most` characters; its end, by which peers differ, is kept."""
    if len(peer) <= most:
        return peer
    _, _, place = peer.partition("://")
    if 0 < len(place) <= most:
        return place
    return peer[:8] + "…" + peer[9 - most :] if most > 18 else "…" + peer[1 - most :]
