"""The faults of the measurement can be put into the library as it is, and the scenarios find some at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.mutants.__main__ import hunt
from tests.simulation.mutants.faults import LATER, MUTANTS, Mutant

PACKAGE = Path(__file__).parents[2] / "triosock"


def test_there_are_twenty_and_each_stands_in_one_place() -> None:
    texts = [path.read_text() for path in PACKAGE.rglob("*.py")]
    assert len({mutant.name for mutant in MUTANTS + LATER}) == 30
    assert len(MUTANTS) == 20
    for mutant in MUTANTS + LATER:
        assert sum(text.count(mutant.old) for text in texts) == 1, mutant.name
        assert mutant.old != mutant.new


@pytest.mark.parametrize("mutant", [MUTANTS[1], MUTANTS[16], LATER[2]], ids=lambda mutant: mutant.name)
def test_a_fault_is_found_and_replayed(mutant: Mutant) -> None:
    found, same = hunt(mutant, 2)
    assert found
    assert same == 2
