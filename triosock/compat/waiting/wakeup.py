"""Descriptors that wake a `poll`: a wakeup that any thread can signal, and the ends of child processes.

Rules of this file:

1. An eventfd, or a pipe where there is none; never a socket, since tests replace `socket.socket` while a
   server waits.
2. **A closed descriptor is never written to**: its number may have been reused. Signalling and closing
   exclude each other (`_turn`).
3. A wakeup belongs to one process. After a fork its descriptors are shared with the parent: the child neither
   signals nor resets, but closes its copies (`abandon()`), without the lock, which may be locked for ever.
4. A signal handler may signal while its own thread does, so the lock is reentrant.
5. Functions are those of the time of import, since a program may replace them at any time.
"""

from __future__ import annotations

import math
import os
import select
import sys
from os import close as _close
from os import getpid as _getpid
from os import read as _read
from os import write as _write
from threading import RLock as _Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_poll: Callable[[], select.poll] | None = getattr(select, "poll", None)
_eventfd: Callable[[int, int], int] | None = getattr(os, "eventfd", None)
_pidfd_open: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
_pipe = os.pipe
_set_blocking = os.set_blocking
#: What an eventfd adds to its counter, and a pipe takes as it is.
_ONE = (1).to_bytes(8, sys.byteorder)


class Wakeup:
    """A descriptor, in a `poll` object if one is given, that any thread can make readable."""

    def __init__(self, poll: select.poll | None) -> None:
        self._poll = poll
        self._pid = _getpid()
        self._turn = _Lock()
        try:
            if _eventfd is not None:
                self._fds = [_eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)]
            else:
                self._fds = list(_pipe())
                for fd in self._fds:
                    _set_blocking(fd, False)
        except OSError:
            # Out of descriptors: shutdown() is then noticed when the interval is over, as without us.
            self._fds = []
        else:
            if poll is not None:
                poll.register(self._fds[0], select.POLLIN)

    @property
    def fd(self) -> int:
        """What becomes readable; -1 if there is none."""
        return self._fds[0] if self._fds else -1

    def ring(self) -> None:
        """Make the descriptor readable: wake the current or next poll."""
        if self._pid != _getpid():
            return
        with self._turn:
            if self._fds:
                try:
                    _write(self._fds[-1], _ONE)
                except BlockingIOError:
                    pass  # signalled already

    def silence(self) -> None:
        """Reset all signals so far. Check what they were for afterwards, not before."""
        if self._pid != _getpid():
            self.abandon()
        elif self._fds:
            try:
                _read(self._fds[0], 4096)
            except BlockingIOError:
                pass

    def wait_alone(self, seconds: float | None) -> None:
        """Wait for a signal only, for so many seconds (None: without a limit)."""
        assert _poll is not None
        poll = _poll()
        if self._fds:
            poll.register(self._fds[0], select.POLLIN)
        poll.poll(None if seconds is None else max(0, math.ceil(seconds * 1000)))

    def close(self) -> None:
        """Close the descriptors."""
        if self._pid != _getpid():
            self.abandon()
            return
        with self._turn:
            fds, self._fds = self._fds, []
            for fd in fds:
                _close(fd)

    def abandon(self) -> None:
        """Close this process's copies of its parent's descriptors."""
        fds, self._fds = self._fds, []
        if fds and self._poll is not None:
            self._poll.unregister(fds[0])
        for fd in fds:
            _close(fd)


def open_child_ends(children: Iterable[int]) -> dict[int, int]:
    """Return, for each child for which there can be one, a descriptor that is readable when it has ended."""
    ends = {}
    if _pidfd_open is not None:
        for child in children:
            try:
                ends[_pidfd_open(child)] = child
            except OSError:
                pass  # reaped already, or no descriptors left: the next interval will see
    return ends
