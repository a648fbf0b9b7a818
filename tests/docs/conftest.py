"""What several tests of the pages start from."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from tests.docs.units import CODE


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """`load("limits")`: the module of a file in docs/code."""
    monkeypatch.syspath_prepend(str(CODE))
    yield importlib.import_module
    for path in CODE.glob("*.py"):
        sys.modules.pop(path.stem, None)
