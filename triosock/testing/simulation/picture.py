"""Pictures of a failed run: the timeline of its servers with all faults, and the page to step through its
tasks.
"""

from __future__ import annotations

import re
from pathlib import Path

from triosock.observe import Recorder

from .choices import Choices
from .run import Outcome, Plan, run


def picture_of(plan: Plan, choices: Choices, seed: int) -> tuple[Outcome, list[str]]:
    """Run again, and write the pictures if there is a folder for them; return the run, and the lines of the
    report that name the files. A file that cannot be written is one of these lines, and no error, which
    would hide the failure.
    """
    if plan.pictures is None:
        return run(plan, choices, located=True, quiet=False), []
    with Recorder() as recorder:
        outcome = run(plan, choices, located=True, quiet=False, on_mark=recorder.mark)
    try:
        return outcome, _write(recorder, plan, plan.pictures, seed)
    except OSError as error:
        return outcome, [f"picture:           not written: {error}"]


def _write(recorder: Recorder, plan: Plan, folder: Path, seed: int) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_]+", "-", getattr(plan.scenario, "__name__", "scenario"))
    path = folder / f"{name}-seed-{seed}.html"
    steps = path.with_suffix(".play.html")
    recorder.timeline.write_html(path)
    recorder.write_html(steps)
    return [f"picture:           {path}", f"step through it:   {steps}"]
