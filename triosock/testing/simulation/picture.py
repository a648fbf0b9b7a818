"""Pictures of the run that failed: the timeline of its servers, and the page to step through its tasks.

Both have everything that befell the world.
"""

from __future__ import annotations

import re
from pathlib import Path

from triosock.observe import Recorder

from .choices import Choices
from .run import Outcome, Plan, run


def pictures_of(plan: Plan, choices: Choices, seed: int) -> tuple[Outcome, tuple[Path, ...]]:
    """Run once more, and write the pictures if there is a folder for them; return the run, and the files: the
    timeline, and the steps.
    """
    if plan.pictures is None:
        return run(plan, choices, located=True, quiet=False), ()
    with Recorder() as recorder:
        outcome = run(plan, choices, located=True, quiet=False, on_mark=recorder.mark)
    plan.pictures.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_]+", "-", getattr(plan.scenario, "__name__", "scenario"))
    timeline = plan.pictures / f"{name}-seed-{seed}.html"
    steps = plan.pictures / f"{name}-seed-{seed}-steps.html"
    recorder.timeline.write_html(timeline)
    recorder.write_html(steps)
    return outcome, (timeline, steps)
