"""pytest -p tests.task_order --task-order forward|reverse: the order of trio's tasks due in one moment.

Under pytest-trio, trio's loop shuffles each batch of tasks, so a test that depends on their order fails now
and then. With this plugin the eldest, or the youngest, is always first, and such a test always fails in one
of the two (`make test-task-order`). It replaces the random numbers of trio's loop, which are no public name.
"""

from __future__ import annotations

import random
from collections.abc import MutableSequence
from typing import Any

import pytest
import trio._core._run as loop


class _InOrder(random.Random):
    """Random numbers, with a shuffle that is none. trio shuffles tasks by age, and begins with the last."""

    eldest_first = True

    def shuffle(self, x: MutableSequence[Any]) -> None:
        if self.eldest_first:
            x.reverse()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--task-order", choices=("forward", "reverse"), default="forward")


def pytest_configure(config: pytest.Config) -> None:
    loop._r = order = _InOrder()
    order.eldest_first = config.getoption("--task-order") == "forward"
