"""What triosock promises, simulated: each scenario of `library` under some seeds, and the seeds that have
found something once more.
"""

from __future__ import annotations

import pytest

from tests.simulation.library import SCENARIOS
from triosock.testing.simulation import simulate

#: What once failed: scenarios, and the seeds that found it.
FOUND: dict[str, list[int]] = {}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_promise_is_kept(name: str, pytestconfig: pytest.Config) -> None:
    scenario, faults = SCENARIOS[name]
    seeds = pytestconfig.getoption("simulate_seeds") or 20  # CI has more: `make simulate-ci`
    one = pytestconfig.getoption("simulate_seed")
    simulate(
        scenario,
        seeds=range(seeds) if one is None else [one],
        faults=faults,
        within=pytestconfig.getoption("simulate_within"),
        again=f'pytest "tests/simulation/test_library.py::test_a_promise_is_kept[{name}]" --simulate-seed ',
    )


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_stays_mended(name: str) -> None:
    scenario, faults = SCENARIOS[name]
    simulate(scenario, seeds=FOUND[name], faults=faults)
