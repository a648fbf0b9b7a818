"""The seed that failed, as a page to step through: the same each time, down to the last step."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.simulation.scenarios import carelessness
from triosock.testing.simulation import Faults, SimulationFailed, simulate


def steps_of(folder: Path) -> tuple[dict, SimulationFailed]:
    """Simulate until a seed fails; return what the page has, and the failure."""
    with pytest.raises(SimulationFailed, match="is no line") as found:
        simulate(carelessness, seeds=50, faults=Faults(cuts=1.0), shrink=0, pictures=folder)
    (path,) = folder.glob("*.play.html")
    assert f"step through it:   {path}" in str(found.value)
    (text,) = re.findall(r'id="run">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    return json.loads(text), found.value


def test_the_run_that_failed_can_be_stepped_through(tmp_path: Path) -> None:
    data, failure = steps_of(tmp_path)
    texts = data["texts"]
    failed = [event for event in data["events"] if event[1] == "f"]
    assert any("is no line" in texts[event[6]] for event in failed)
    told = [texts[event[6]] for event in data["events"] if event[1] == "v"]
    assert any("is split into pieces of at most" in text for text in told)
    assert any("handler failed on connection" in text for text in told)
    assert {file["name"] for file in data["files"] if file["own"]} >= {"tests/simulation/scenarios.py"}
    assert failure.seed is not None


def test_the_same_seed_has_the_same_steps(tmp_path: Path) -> None:
    (one, first), (other, second) = steps_of(tmp_path / "one"), steps_of(tmp_path / "other")
    assert first.seed == second.seed
    assert one == other
