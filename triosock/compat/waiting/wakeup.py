"""Descriptors that wake a `poll`: a wakeup that any thread can signal, and the ends of child processes.

Rules of this file:

1. An eventfd, or a pipe where there is none; never a socket, since tests replace `socket.socket` while a
   server waits.
2. **A closed descriptor is never written to**: its number may have been reused. A lock (`_lock`) makes
   signalling and closing exclude each other.
3. A wakeup belongs to one process. In the child of a fork, its descriptors are shared with the parent: the
   child neither signals nor resets, and closes its copies (`abandon()`) without the lock, which may be locked
   for ever.
4. The lock is reentrant, since a signal handler may signal while it interrupts a thread that signals.
5. The functions of `os` and `select` are those of the time of import, since a program may replace them.
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
from threading import RLock as _RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_poll: Callable[[], select.poll] | None = getattr(select, "poll", None)
_eventfd: Callable[[int, int], int] | None = getattr(os, "eventfd", None)
_pidfd_open: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
_pipe = os.pipe
_set_blocking = os.set_blocking
#: Seconds after which a wait that nothing can end is over, so that its caller looks for what has changed.
WITHOUT_SIGNAL = 0.1
#: The bytes that are written: an eventfd adds them to its counter, a pipe stores them.
_ONE = (1).to_bytes(8, sys.byteorder)


class Wakeup:
    """A descriptor, in a `poll` object if one is given, that any thread can make readable."""

    def __init__(self, poll: select.poll | None) -> None:
        self._poll = poll
        self._pid = _getpid()
        self._lock = _RLock()
        try:
            if _eventfd is not None:
                self._fds = [_eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)]
            else:
                self._fds = list(_pipe())
                for fd in self._fds:
                    _set_blocking(fd, False)
        except OSError:
            # EMFILE: shutdown() is then noticed after the interval, as in the standard library.
            self._fds = []
        else:
            if poll is not None:
                poll.register(self._fds[0], select.POLLIN)

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable; -1 if there is none."""
        return self._fds[0] if self._fds else -1

    def signal(self) -> None:
        """Make the descriptor readable: wake the current or next poll."""
        if self._pid != _getpid():
            return
        with self._lock:
            if self._fds:
                try:
                    _write(self._fds[-1], _ONE)
                except BlockingIOError:
                    pass  # signalled already

    def reset(self) -> None:
        """Reset all signals so far. Check their reasons afterwards and not before, or one may be missed."""
        if self._pid != _getpid():
            self.abandon()
        elif self._fds:
            try:
                _read(self._fds[0], 4096)
            except BlockingIOError:
                pass

    def wait(self, seconds: float | None) -> None:
        """Wait only for a signal, for `seconds` at most (None: without a limit). If there was no descriptor
        for it, for `WITHOUT_SIGNAL` seconds at most.
        """
        assert _poll is not None
        poll = _poll()
        if self._fds:
            poll.register(self._fds[0], select.POLLIN)
        else:
            seconds = WITHOUT_SIGNAL if seconds is None else min(seconds, WITHOUT_SIGNAL)
        poll.poll(None if seconds is None else max(0, math.ceil(seconds * 1000)))

    def close(self) -> None:
        """Close the descriptors."""
        if self._pid != _getpid():
            self.abandon()
            return
        with self._lock:
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
    """Return a pidfd for each child that has one, with its process id. It is readable when the child has
    ended.
    """
    ends = {}
    if _pidfd_open is not None:
        for child in children:
            try:
                ends[_pidfd_open(child)] = child
            except OSError:
                pass  # reaped already, or EMFILE: its end is noticed after the next interval
    return ends


def count_running(children: Iterable[int]) -> int:
    """Return how many of these children have not ended, as far as pidfds tell."""
    ends = open_child_ends(children)
    if not ends:
        return 0
    assert _poll is not None
    poll = _poll()
    try:
        for end in ends:
            poll.register(end, select.POLLIN)
        return len(ends) - len(poll.poll(0))
    finally:
        for end in ends:
            _close(end)
