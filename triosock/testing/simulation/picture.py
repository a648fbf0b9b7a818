"""A picture of the run that failed: the timeline of its servers, with everything that befell the world."""

from __future__ import annotations

import re
from pathlib import Path

from triosock.observe import Timeline

from .choices import Choices
from .run import Outcome, Plan, run


def picture_of(plan: Plan, choices: Choices, seed: int) -> tuple[Outcome, Path | None]:
    """Run once more, and write the picture if there is a folder for it; return the run, and the file."""
    with Timeline() as timeline:
        outcome = run(plan, choices, located=True, quiet=False, on_mark=timeline.mark)
    if plan.pictures is None:
        return outcome, None
    plan.pictures.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_]+", "-", getattr(plan.scenario, "__name__", "scenario"))
    path = plan.pictures / f"{name}-seed-{seed}.html"
    timeline.write_html(path)
    return outcome, path
