"""Answers for `for`, `with` and `await` where another form is meant: what to write instead.

The classes use them where no type checker looks, so that one still finds the mistake before the program runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


def write(instead: str) -> Callable[..., NoReturn]:
    """Return a method, for a class to have under the name of a special one, that says what to write."""

    def refuse(self: object, *args: Any) -> NoReturn:
        raise TypeError(f"write `{instead}`")

    return refuse
