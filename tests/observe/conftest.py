"""Fixtures shared by tests of observers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from triosock.observe import serve_control


@pytest.fixture
def told() -> Iterator[Any]:
    """Providers of OpenTelemetry that export into memory: `tests.observe.told`."""
    from tests.observe.told import Told  # which needs the SDK

    told = Told()
    yield told
    told.tracers.shutdown()
    told.meters.shutdown()


@pytest.fixture
async def control(tmp_path, nursery):
    """The path of a control socket that is served."""
    path = tmp_path / "control"
    await nursery.start(serve_control, path)
    yield path
    nursery.cancel_scope.cancel()
