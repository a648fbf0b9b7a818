"""Pictures of a failed run: the timeline of its servers with all faults, and the page to step through its
tasks.
"""

from __future__ import annotations

import re
from pathlib import Path

from triosock.observe import Recorder

from .choices import Choices
from .run import Outcome, Plan, run


def picture_of(plan: Plan, choices: Choices, seed: int) -> tuple[Outcome, Path | None]:
    """Run again, and write the pictures if there is a folder for them; return the run, and the file of the
    timeline. `steps_beside` gives the other file.
    """
    if plan.pictures is None:
        return run(plan, choices, located=True, quiet=False), None
    with Recorder() as recorder:
        outcome = run(plan, choices, located=True, quiet=False, on_mark=recorder.mark)
    plan.pictures.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_]+", "-", getattr(plan.scenario, "__name__", "scenario"))
    path = plan.pictures / f"{name}-seed-{seed}.html"
    recorder.timeline.write_html(path)
    recorder.write_html(steps_beside(path))
    return outcome, path


def steps_beside(picture: Path) -> Path:
    """Return the path of the page to step through a run, beside its picture."""
    return picture.with_suffix(".play.html")
