"""What triosock promises, as scenarios: `SCENARIOS` has all of them, with the faults under which they must
hold. A test runs each under some hundreds of seeds, `make simulate` under many, and the measurement of
mutants (`tests/simulation/mutants`) under those that it needs.

Imports nothing of pytest, so that a process of its own can run them against a copy of the library.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from triosock.testing.simulation import Faults, World

from . import datagrams, deadlines, drains, green, layers, limits, streams, turns

Scenario: TypeAlias = Callable[[World], Awaitable[Any]]

SCENARIOS: dict[str, tuple[Scenario, Faults]] = {
    name: pair
    for module in (drains, limits, deadlines, streams, layers, datagrams, green, turns)
    for name, pair in module.SCENARIOS.items()
}
