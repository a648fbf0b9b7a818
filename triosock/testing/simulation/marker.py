"""`@pytest.mark.simulate`: a test that is a scenario.

    @pytest.mark.simulate(seeds=500, faults=Faults.network())
    async def test_shouting(world):
        server = await world.serve(shout)
        ...

The rules:

1. **The mark's options are those of `simulate`.** ``--simulate-seeds N`` overrides the number of seeds, and
   ``--simulate-seed N`` runs one seed; both apply to all marked tests.
2. **A marked test is no async test for other plugins**: it becomes a plain function before pytest-trio looks
   for async ones. Its other fixtures are made once and shared by all its runs, which must not change them.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .simulate import simulate
from .world import World

#: A folder's name has the first so many characters of a test's.
_MOST_NAME = 100
_MARKER = (
    "simulate(seeds=200, faults=None, ...): run this async test, a scenario of a `world`, once for each "
    "seed; the options are those of triosock.testing.simulate"
)


def add_options(parser: pytest.Parser) -> None:
    """Add the options of the command line."""
    group = parser.getgroup("triosock", "simulations of triosock")
    group.addoption("--simulate-seeds", type=int, metavar="N", help="run N seeds of each simulated test")
    group.addoption("--simulate-seed", type=int, metavar="N", help="run this seed of each simulated test")
    group.addoption(
        "--simulate-within",
        type=float,
        metavar="SECONDS",
        help="start no further seed of a simulated test after this time; the first one always",
    )


def configure(config: pytest.Config) -> None:
    """Register the mark with pytest."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def world() -> None:
    """The `triosock.testing.World` of a run, in a test that is marked with ``@pytest.mark.simulate``."""
    return None  # each run replaces it


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Replace all marked tests by plain functions."""
    for item in items:
        marker = item.get_closest_marker("simulate")
        if marker is not None and isinstance(item, pytest.Function):
            item.obj = _plain(item, marker)


def _plain(item: pytest.Function, marker: pytest.Mark) -> Callable[..., None]:
    scenario = item.obj
    if not inspect.iscoroutinefunction(scenario) or "world" not in inspect.signature(scenario).parameters:
        raise pytest.UsageError(
            f"{item.nodeid} is marked with simulate: it must be an async function with an argument `world`"
        )
    if marker.args:
        raise pytest.UsageError(f"{item.nodeid}: the options of simulate must be named, as in seeds=200")
    options = _options(item, marker)

    @functools.wraps(scenario)
    def test(**fixtures: object) -> None:
        @functools.wraps(scenario)
        async def of_world(world: World) -> None:
            await scenario(**fixtures | {"world": world})

        simulate(of_world, **options)

    # It keeps the scenario's name and place, but must not be unwrapped to an async function.
    del test.__wrapped__
    return test


def _options(item: pytest.Function, marker: pytest.Mark) -> dict[str, Any]:
    config = item.config
    options = {"again": f"pytest {_quoted(item.nodeid)} --simulate-seed ", **marker.kwargs}
    if config.getoption("simulate_within") is not None:
        options["within"] = config.getoption("simulate_within")
    if config.getoption("simulate_seeds") is not None:
        options["seeds"] = config.getoption("simulate_seeds")
    if config.getoption("simulate_seed") is not None:
        options["seeds"] = [config.getoption("simulate_seed")]
    if "pictures" not in options:
        options["pictures"] = _pictures(item)
    return options


def _quoted(name: str) -> str:
    """Return the name as one word for a shell: in double quotes, which every shell knows, if they do."""
    return shlex.quote(name) if re.search(r'["$`\\!]', name) else f'"{name}"'


def _pictures(item: pytest.Function) -> Path | None:
    """Return the folder of a test in pytest's cache; None without one that can be written."""
    cache = getattr(item.config, "cache", None)
    if cache is None:
        return None
    try:
        folder = Path(cache.mkdir("simulate"))
    except OSError:  # pytest itself goes on without a cache
        return None
    # The names of two tests may differ only in what no file name can have.
    number = hashlib.sha256(item.nodeid.encode()).hexdigest()[:8]
    return folder / f"{re.sub(r'[^A-Za-z0-9_]+', '-', item.nodeid)[:_MOST_NAME]}-{number}"
