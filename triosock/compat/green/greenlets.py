"""greenlet, as far as it is used here, with types: the package has none. These are its own objects, called by
no other way.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from types import FrameType
from typing import Any, Protocol

import greenlet  # type: ignore[import-untyped]


class Greenlet(Protocol):
    """A greenlet. What passes through `switch()` is what the other side gives: anything."""

    gr_context: Context | None

    @property
    def gr_frame(self) -> FrameType | None:
        """Where it was left; None if it runs, or is over."""

    @property
    def dead(self) -> bool:
        """Whether its function has ended."""
        raise NotImplementedError

    def switch(self, *args: object) -> Any:
        """Go on there; return what comes back."""

    def throw(self, error: BaseException) -> Any:
        """Go on there with an exception; return what comes back."""


_untyped: Any = greenlet
getcurrent: Callable[[], Greenlet] = _untyped.getcurrent
make_greenlet: Callable[[Callable[..., object]], Greenlet] = _untyped.greenlet
