"""Wakes the tasks that wait for a socket when it is about to be closed.

The invariant: **in the child of a fork, nothing is done to the trio run of the parent.** If a task forks, the
child has a copy of the run, and shares its epoll with the parent: to take a descriptor out of the copy would
take it out of the original, where a task would then wait for it for ever.
"""

from __future__ import annotations

import os
import socket

import trio

#: The run that this process has a copy of, since it was forked by a task of that run.
_copy: trio.lowlevel.TrioToken | None = None


def notify_closing(sock: socket.socket) -> None:
    """Have the waits for a socket that is about to be closed end with trio.ClosedResourceError. No task waits
    before or after a trio run, or in the copy of one.
    """
    if trio.lowlevel.in_trio_run() and trio.lowlevel.current_trio_token() is not _copy:
        trio.lowlevel.notify_closing(sock)


def _note_copy() -> None:
    global _copy
    if trio.lowlevel.in_trio_run():
        _copy = trio.lowlevel.current_trio_token()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_copy)
