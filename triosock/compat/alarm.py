"""Descriptors that wake a `poll`: an alarm that any thread rings, and the ends of child processes.

Rules of this file:

1. An eventfd, or a pipe where there is none; never a socket, for tests put objects of their own in the place
   of `socket.socket` while a server waits.
2. **Nobody rings at a descriptor that is closed**: its number may be somebody else's by then. Ringing and
   closing take turns (`_turn`).
3. An alarm belongs to one process. After a fork its descriptors are the parent's as well: the child neither
   rings nor silences, but gives its copies back (`abandon()`), without the lock, which may be locked for
   ever.
"""

from __future__ import annotations

import math
import os
import select
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


_poll: Any = getattr(select, "poll", None)
#: What an eventfd adds to its counter, and a pipe takes as it is.
_ONE = (1).to_bytes(8, sys.byteorder)


class Alarm:
    """A descriptor in a `poll` object that any thread can make readable."""

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self._pid = os.getpid()
        self._turn = threading.Lock()
        try:
            if hasattr(os, "eventfd"):
                self._fds = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)]
            else:
                self._fds = list(os.pipe())
                for fd in self._fds:
                    os.set_blocking(fd, False)
        except OSError:
            # Out of descriptors: shutdown() is then noticed when the interval is over, as without us.
            self._fds = []
        else:
            poll.register(self._fds[0], select.POLLIN)

    def ring(self) -> None:
        """Wake whoever polls, now or later."""
        if self._pid != os.getpid():
            return
        with self._turn:
            if self._fds:
                try:
                    os.write(self._fds[-1], _ONE)
                except BlockingIOError:
                    pass  # it rings already

    def silence(self) -> None:
        """Take back all rings so far. What a ring is about is to be looked at afterwards, not before."""
        if self._pid != os.getpid():
            self.abandon()
        elif self._fds:
            try:
                os.read(self._fds[0], 4096)
            except BlockingIOError:
                pass

    def wait_alone(self, seconds: float | None) -> None:
        """Wait for a ring, for so many seconds (None: as long as it takes), and for nothing else."""
        poll = _poll()
        if self._fds:
            poll.register(self._fds[0], select.POLLIN)
        poll.poll(None if seconds is None else max(0, math.ceil(seconds * 1000)))

    def close(self) -> None:
        """Give the descriptors back."""
        if self._pid != os.getpid():
            self.abandon()
            return
        with self._turn:
            fds, self._fds = self._fds, []
            for fd in fds:
                os.close(fd)

    def abandon(self) -> None:
        """Give back this process's copies of its parent's descriptors."""
        fds, self._fds = self._fds, []
        if fds:
            self._poll.unregister(fds[0])
        for fd in fds:
            os.close(fd)


def open_child_ends(children: Iterable[int]) -> dict[int, int]:
    """Return, for each child for which there can be one, a descriptor that is readable when it has ended."""
    ends = {}
    if hasattr(os, "pidfd_open"):
        for child in children:
            try:
                ends[os.pidfd_open(child)] = child
            except OSError:
                pass  # reaped already, or no descriptors left: the next interval will see
    return ends
