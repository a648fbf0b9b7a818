"""What type checkers say about recorders and timelines; see serving.py."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import triosock
from triosock.observe import Recorder, Step, Timeline


def recording() -> None:
    with Recorder(max_events=1_000) as recorder:
        assert_type(recorder, Recorder)
        recorder.mark("here")
        recorder.mark(3)  # type: ignore[arg-type]
    recorder.write_html("run.html")
    recorder.write_html(Path("run.html"))
    assert_type(recorder.html(), str)
    assert_type(recorder.forgotten, int)
    assert_type(recorder.timeline, Timeline)
    recorder.forgotten = 3  # type: ignore[misc]
    Recorder(1_000)  # type: ignore[call-arg]
    Recorder(max_events="many")  # type: ignore[arg-type]


def steps(recorder: Recorder) -> list[str]:
    found = recorder.steps()
    assert_type(found, tuple[Step, ...])
    for step in found:
        assert_type(step.time, float)
        assert_type(step.task, int | None)
        assert_type(step.by, int | None)
        step.text = ""  # type: ignore[misc]
    return [step.text for step in found if step.kind == "cancel"]


def it_is_no_observer(recorder: Recorder) -> None:
    observer: triosock.Observer = recorder  # type: ignore[assignment]
    print(observer)
