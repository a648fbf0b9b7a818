"""The pytest plugin: fixtures for tests with pytest-trio, and a mark for simulated tests. It is installed
with triosock; nothing needs to be imported.

    async def test_echo(open_server, autojump_clock):
        served = await open_server(echo)
        client = await served.connect()

    @pytest.mark.simulate(seeds=200)
    async def test_echo_in_a_bad_network(world):
        server = await world.serve(echo)

Without pytest-trio there are no fixtures of the first kind. The plugin must not affect tests that do not use
triosock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of simulated tests."""
    from .simulation import marker

    marker.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark, and the fixtures if pytest-trio is installed."""
    from .simulation import marker

    marker.configure(config)
    config.pluginmanager.register(marker, "triosock-simulate")
    # It has the first name if loaded by its entry point, the second if by `-p`.
    if any(config.pluginmanager.hasplugin(name) for name in ("trio", "pytest_trio.plugin")):
        from . import _fixtures

        config.pluginmanager.register(_fixtures, "triosock-fixtures")
