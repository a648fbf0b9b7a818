"""The functions of the package greenlet that are used here, with types, which the package does not have. They
are the package's own objects, without wrappers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from types import FrameType
from typing import Any, Protocol

import greenlet  # type: ignore[import-untyped]


class Greenlet(Protocol):
    """A greenlet. `switch()` returns what the other greenlet passes to its own `switch()`: any object."""

    gr_context: Context | None

    @property
    def gr_frame(self) -> FrameType | None:
        """The frame in which it is suspended; None if it runs, or has ended."""

    @property
    def dead(self) -> bool:
        """Whether its function has ended."""
        raise NotImplementedError

    def switch(self, *args: object) -> Any:
        """Continue in this greenlet; return what is passed to the switch back."""

    def throw(self, error: BaseException) -> Any:
        """Raise an exception in this greenlet; return what is passed to the switch back."""


_untyped: Any = greenlet
getcurrent: Callable[[], Greenlet] = _untyped.getcurrent
make_greenlet: Callable[[Callable[..., object]], Greenlet] = _untyped.greenlet
