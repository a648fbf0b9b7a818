"""Reports handlers that block the event loop, with their stacks: those that run too long without a wait.

`_core/inspect/step_watch.py` counts the steps of greenlets and watches them from a thread; this file makes
the report.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from types import CodeType, FrameType

from ..._core.inspect.step_watch import LOOKS as LOOKS
from ..._core.inspect.step_watch import THREAD_NAME as THREAD_NAME
from ..._core.inspect.step_watch import StepWatch

#: The number of places in the code that are reported, each once.
PLACES = 100

_reported: set[tuple[str, int]] = set()


class Watch(StepWatch[object]):
    """The watch of one trio run. `begin()` and `end()` may be called in any thread, other methods in the trio
    thread.
    """

    __slots__ = ()

    def tell(self, running: object, frame: FrameType, after: float, is_certain: Callable[[], bool]) -> None:
        """Print the handler's part of the stack, once for each place."""
        stack = _handlers_part(frame)
        lines = traceback.StackSummary.extract(((one, one.f_lineno) for one in stack), lookup_lines=False)
        if not is_certain() or not lines:
            return
        place = (lines[-1].filename, lines[-1].lineno or 0)
        if place in _reported or len(_reported) >= PLACES:
            return
        _reported.add(place)
        print(_BLOCKS.format(after), *lines.format(), sep="\n", file=sys.stderr, end="")


_BLOCKS = (
    "triosock.compat: a green handler has run for {:g} seconds without a wait, and no other handler can run "
    "meanwhile. Call what blocks through compat.blocking(fn, *args), and compat.sleep(seconds) instead of "
    "time.sleep(seconds). This is where it is, most recent call last; each place is reported once:"
)

#: The code with which greenlets begin: it and its callers do not belong to the handler. Set by `tasks.py`.
ROOTS: set[CodeType] = set()


def _handlers_part(frame: FrameType | None) -> list[FrameType]:
    """Return the frames of a handler, the outermost first, without those of the run loop."""
    found: list[FrameType] = []
    while frame is not None and frame.f_code not in ROOTS:
        found.append(frame)
        frame = frame.f_back
    return found[::-1]
