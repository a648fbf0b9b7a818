"""What several tests of observers start from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def told() -> Iterator[Any]:
    """Providers of OpenTelemetry that export into memory: `tests.observe.told`."""
    from tests.observe.told import Told  # which needs the SDK

    told = Told()
    yield told
    told.tracers.shutdown()
    told.meters.shutdown()
