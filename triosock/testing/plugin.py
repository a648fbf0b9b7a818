"""The pytest plugin: fixtures for tests that pytest-trio runs. Installed with triosock; nothing needs to be
imported.

    async def test_echo(open_server, autojump_clock):
        served = await open_server(echo)
        client = await served.connect()

Without pytest-trio there are no fixtures, and nothing else either: the plugin must be harmless for those who
have triosock installed and test something quite different.
"""

from __future__ import annotations

from typing import Any


def pytest_configure(config: Any) -> None:
    """Register the fixtures if pytest-trio is there to run them."""
    # Under the first name if it was found by its entry point, under the second if by `-p`.
    if any(config.pluginmanager.hasplugin(name) for name in ("trio", "pytest_trio.plugin")):
        from . import _fixtures

        config.pluginmanager.register(_fixtures, "triosock-fixtures")
