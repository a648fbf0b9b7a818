"""The page of a timeline: one HTML file with the picture, its key, and details of the bar under the pointer.
It loads nothing else.

Without scripts it shows the static picture; `page.js` adds the zoom, and moves only elements that have times.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

from .layout import Picture
from .svg import STYLE, Drawing, swatch

_HERE: Final = Path(__file__).parent
_SCRIPT: Final = "".join((_HERE / name).read_text("utf-8") for name in ("search.js", "page.js"))
_PAGE_STYLE: Final = (_HERE / "page.css").read_text("utf-8")

_TOOLS: Final = """
<div class="tools" role="toolbar" aria-label="Zoom">
<button id="in" title="zoom in (+)" aria-label="zoom in">+</button>
<button id="out" title="zoom out (-)" aria-label="zoom out">&minus;</button>
<button id="all" title="the whole run (0)">all</button>
<span id="range" aria-live="off"></span></div>"""
_PICTURE: Final = (
    "Timeline. Arrow keys: up and down go from bar to bar, left and right move, plus and minus zoom, zero "
    "shows all."
)
_HINT: Final = """<p class="hint">Point at a bar, a mark or a line,
or go from bar to bar with &uarr; and &darr;. Zoom: wheel, pinch, or + and &minus;. Move: drag, or &larr; and
&rarr;. Search: /</p>"""
_SEARCH: Final = """<details class="find"><summary>Search: peer, cause, duration</summary>
<form id="search" role="search">
<label>Peer <input id="peer" type="search" placeholder="a part of its name" autocomplete="off"></label>
<label>Ended <select id="cause"><option value="">for any cause</option></select></label>
<label>Took at least <input id="least" placeholder="200 ms" autocomplete="off"></label>
<label>and at most <input id="most" placeholder="2 s" autocomplete="off"></label>
<button type="reset">clear</button> <span id="hits" role="status"></span></form>
<ol id="results"></ol></details>"""


def page(picture: Picture) -> str:
    """Return the page as HTML text."""
    drawing = Drawing(picture)
    plot = drawing.plot()
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Timeline: {escape(picture.summary)}</title>
<style>{STYLE}{_PAGE_STYLE}</style></head>
<body>
<header><h1>{escape(picture.summary)}</h1>{_TOOLS}</header>
{_SEARCH}
<div id="scroll">
<main id="picture" tabindex="0" aria-label="{_PICTURE}">{plot}</main>
<section><h2>What happened</h2><ol class="flags">{_flags(picture)}</ol>{_notes(picture)}</section>
<section><h2>Legend</h2><ul class="legend">{_legend(drawing)}</ul></section>
</div>
<div id="details" role="status" aria-live="polite">{_HINT}</div>
<script>{_SCRIPT}</script>
</body></html>
"""


def _flags(picture: Picture) -> str:
    return "".join(
        f'<li class="{flag.kind}"><b>{flag.letter}</b> {escape(flag.text)}'
        + (f' <span class="of">{escape(band.title)}</span>' if len(picture.bands) > 1 else "")
        + "</li>"
        for band in picture.bands
        for flag in band.flags
    )


def _notes(picture: Picture) -> str:
    return "".join(f"<p class=note>Note: {escape(note)}.</p>" for note in picture.notes)


def _legend(drawing: Drawing) -> str:
    return "".join(
        f'<li><svg class="timeline" width="34" height="20" viewBox="-2 -10 34 20" aria-hidden="true">'
        f"{swatch(kind)}</svg>{escape(words)}</li>"
        for kind, words in drawing.legend()
    )
