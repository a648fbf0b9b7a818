"""The wait of a forking server: a `poll.PollWait` that the end of a child ends too.

It needs no thread (see `poll.py`): the pidfd of a child (pidfd_open(2)) becomes readable when it ends.
Rejected: SIGCHLD, whose handler belongs to the program.
"""

from __future__ import annotations

import math
import select
from os import close as _close
from typing import TYPE_CHECKING

from .poll import POLL_FIRST, POLL_FIRST_MS, PollWait
from .wakeup import open_child_ends

if TYPE_CHECKING:
    import selectors

    from ..requests.ports import Server


class ForkingWait(PollWait):
    """A `PollWait` that also ends when a child of the server has ended, so that it is reaped then."""

    def __init__(self, server: Server, selector: selectors.BaseSelector) -> None:
        super().__init__(server, selector)
        self._noticed: set[int] = set()

    def _is_ready(self, interval: float | None) -> bool:
        children: set[int] = getattr(self.server, "active_children", None) or set()
        if not children or (interval is not None and (interval <= 0 or interval <= POLL_FIRST)):
            return super()._is_ready(interval)
        # Under load, service_actions() reaps children between requests; so pidfds are opened only for a
        # longer wait.
        if self._look(POLL_FIRST_MS):
            return True
        if self._woken:
            return False  # the next wait() resets the wakeup
        # Each end wakes only once, since a program's service_actions() may reap nothing: no busy loop.
        self._noticed &= children
        ends = open_child_ends(children - self._noticed)
        for end in ends:
            self._poll.register(end, select.POLLIN)
        try:
            ready = self._poll.poll(None if interval is None else math.ceil((interval - POLL_FIRST) * 1000))
        finally:
            for end in ends:
                self._poll.unregister(end)
                _close(end)
        self._noticed.update(ends[fd] for fd, _ in ready if fd in ends)
        return any(fd == self._fd for fd, _ in ready)
