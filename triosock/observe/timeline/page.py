"""One HTML file: the picture, its key, and what is pointed at. It loads nothing, from nowhere.

Without scripts it is the static picture; `page.js` adds the zoom, and moves only what has times on it.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

from .layout import Picture
from .svg import STYLE, Drawing, swatch

_HERE: Final = Path(__file__).parent
_SCRIPT: Final = (_HERE / "page.js").read_text("utf-8")
_PAGE_STYLE: Final = (_HERE / "page.css").read_text("utf-8")


def page(picture: Picture) -> str:
    """Return the HTML text."""
    flags = "".join(
        f'<li class="{flag.kind}"><b>{flag.letter}</b> {escape(flag.text)}'
        + (f' <span class="of">{escape(band.title)}</span>' if len(picture.bands) > 1 else "")
        + "</li>"
        for band in picture.bands
        for flag in band.flags
    )
    notes = "".join(f"<p class=note>Note: {escape(note)}.</p>" for note in picture.notes)
    drawing = Drawing(picture)
    plot = drawing.plot()
    legend = "".join(
        f'<li><svg class="timeline" width="34" height="20" viewBox="-2 -10 34 20" aria-hidden="true">'
        f"{swatch(kind)}</svg>{escape(words)}</li>"
        for kind, words in drawing.legend()
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Timeline: {escape(picture.summary)}</title>
<style>{STYLE}{_PAGE_STYLE}</style></head>
<body>
<header><h1>{escape(picture.summary)}</h1>
<div class="tools" role="toolbar" aria-label="Zoom">
<button id="in" title="zoom in (+)" aria-label="zoom in">+</button>
<button id="out" title="zoom out (-)" aria-label="zoom out">&minus;</button>
<button id="all" title="the whole run (0)">all</button>
<span id="range" aria-live="off"></span></div></header>
<main id="picture" tabindex="0" aria-label="Timeline. Arrow keys: up and down go from bar to bar, left and
right move, plus and minus zoom, zero shows all.">{plot}</main>
<div id="details" role="status" aria-live="polite"><p class="hint">Point at a bar, a mark or a line,
or go from bar to bar with &uarr; and &darr;. Zoom: wheel, pinch, or + and &minus;. Move: drag, or &larr; and
&rarr;.</p></div>
<section><h2>What happened</h2><ol class="flags">{flags}</ol>{notes}</section>
<section><h2>Legend</h2><ul class="legend">{legend}</ul></section>
<script>{_SCRIPT}</script>
</body></html>
"""
