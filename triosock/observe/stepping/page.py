"""The page to step through a run: one HTML file, which loads nothing else.

Text from a program or a peer (names of tasks, errors, lines of code) is in the JSON, which cannot end its
element, and is inserted into the page as text only; the timeline escapes its own texts.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

from ..text import count, duration
from ..timeline.layout import Picture
from ..timeline.svg import Drawing
from .model import Happening, State
from .packing import packed

_HERE: Final = Path(__file__).parent
_STYLE: Final = (_HERE / "page.css").read_text("utf-8")
_SCRIPT: Final = "".join((_HERE / name).read_text("utf-8") for name in ("state.js", "view.js"))

#: The most bars of a timeline beside the steps; a larger one needs its own page.
MAX_BARS: Final = 300
TIMELINE_WIDTH: Final = 900

_KEYS: Final = (
    "Keys: right and left arrow go one step on and back, Home and End to the first and the last, Space "
    "plays, up and down arrow choose a task, Escape deselects it, n and p go to the next and the previous "
    "breakpoint. A breakpoint at cancellations stops at those of the program's own tasks and handlers; it "
    "skips those by which a server ends its internal tasks, unless the menu says `anywhere`."
)
#: The breakpoints: kinds of events, as letters of packing.py; with a + also those of the library's internal
#: tasks.
_BREAKPOINTS: Final = (
    ("c", "is cancelled"),
    ("c+", "is cancelled, anywhere"),
    ("efg", "ends"),
    ("f", "fails"),
    ("s", "is started"),
    ("w", "waits"),
    ("v", "has an event of a server"),
)


def page(base: State, kept: list[Happening], forgotten: int, picture: Picture) -> str:
    """Return the page as HTML text. `forgotten` is the number of discarded happenings."""
    started = sum(one.kind == "spawn" for one in kept)
    began = kept[0].time if kept else 0.0
    took = duration(kept[-1].time - began) if kept else "no time"
    title = f"{count(started, 'task')} started in {took}"
    notes = list(picture.notes)
    if forgotten:
        notes.insert(0, f"the oldest {count(forgotten, 'event')} were forgotten to bound the memory")
    return _PAGE.format(
        title=escape(title),
        style=_STYLE,
        keys=_KEYS,
        options="".join(f'<option value="{kinds}">{words}</option>' for kinds, words in _BREAKPOINTS),
        notes="".join(f'<p class="note">Note: {escape(note)}.</p>' for note in notes),
        timeline=_timeline(picture),
        data=packed(base, kept, forgotten),
        script=_SCRIPT,
    )


def _timeline(picture: Picture) -> str:
    bars = sum(len(band.boxes) for band in picture.bands)
    if not picture.bands:
        return ""
    if bars > MAX_BARS:
        return f'<p class="note">Note: {bars:,} connections are too many for a timeline on this page.</p>'
    drawn = Drawing(picture, TIMELINE_WIDTH).plot()
    return f'<section id="timeline" aria-label="Timeline of the connections">{drawn}</section>'


_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Step through: {title}</title>
<style>{style}</style></head>
<body>
<header><h1>Step through: {title}</h1></header>
<div class="moves">
<div class="buttons" role="toolbar" aria-label="Steps">
<button id="first" title="first step (Home)" aria-label="first step">|&larr;</button>
<button id="back" title="one step back (left arrow)" aria-label="one step back">&larr;</button>
<button id="play" title="play or stop (Space)">Play</button>
<button id="next" title="one step on (right arrow)" aria-label="one step on">&rarr;</button>
<button id="last" title="last step (End)" aria-label="last step">&rarr;|</button>
<span id="count"></span></div>
<input id="slider" type="range" min="0" max="0" value="0" aria-label="step">
<p id="said" role="status" aria-live="polite" aria-atomic="true"></p>
</div>
<div class="options">
<label>Show <select id="level"><option value="main">what matters</option>
<option value="all">every step, also pauses</option>
<option value="ends">starts, cancellations and ends</option></select></label>
<label><input id="only" type="checkbox"> of this task only</label>
<span role="group" aria-label="Breakpoint"><label>Stop when task
<input id="whose" type="number" min="1" placeholder="any" aria-label="number of the task; empty for any">
<select id="what" aria-label="what happens to it">{options}</select></label></span>
<button id="before" title="previous such step (p)">previous</button>
<button id="after" title="next such step (n)">next</button>
<span id="found" role="status"></span>
</div>
{notes}
<main>
<section id="tree" aria-label="Tree of nurseries and tasks"></section>
<section id="task" aria-label="Task"></section>
</main>
{timeline}
<p class="hint">{keys}</p>
<script type="application/json" id="run">{data}</script>
<script>{script}</script>
</body></html>
"""
