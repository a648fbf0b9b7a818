"""Descriptors that wake a `poll`: an alarm that any thread rings, and the ends of child processes.

An eventfd, or a pipe where there is none; never a socket, for tests put objects of their own in the place of
`socket.socket` while a server waits.
"""

from __future__ import annotations

import math
import os
import select


class Alarm:
    """A descriptor in a `poll` object that any thread can make readable."""

    def __init__(self, poll: select.poll) -> None:
        try:
            if hasattr(os, "eventfd"):
                self._fds = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)]
            else:
                self._fds = list(os.pipe())
                os.set_blocking(self._fds[0], False)
        except OSError:
            # Out of descriptors: shutdown() is then noticed when the interval is over, as without us.
            self._fds = []
        else:
            poll.register(self._fds[0], select.POLLIN)

    def ring(self) -> None:
        """Wake whoever polls, now or later."""
        if self._fds:
            try:
                os.write(self._fds[-1], (1).to_bytes(8, "little"))
            except OSError:
                pass  # the loop has just ended, or it rings already

    def silence(self) -> None:
        """Take back all rings so far."""
        if self._fds:
            try:
                os.read(self._fds[0], 4096)
            except BlockingIOError:
                pass

    def wait_alone(self, seconds: float | None) -> None:
        """Wait for a ring, for so many seconds (None: as long as it takes), and for nothing else."""
        poll = select.poll()
        if self._fds:
            poll.register(self._fds[0], select.POLLIN)
        poll.poll(None if seconds is None else max(0, math.ceil(seconds * 1000)))

    def close(self) -> None:
        """Give the descriptors back."""
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)


def open_child_ends(children: set[int]) -> dict[int, int]:
    """Return, for each child for which there can be one, a descriptor that is readable when it has ended."""
    ends = {}
    if hasattr(os, "pidfd_open"):
        for child in children:
            try:
                ends[os.pidfd_open(child)] = child
            except OSError:
                pass  # reaped already, or no descriptors left: the next interval will see
    return ends
