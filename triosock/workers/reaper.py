"""Reaps orphans in process 1 of a container, which inherits them. Otherwise they would stay as zombies.

The rule: **a child of this program is reaped only by the code that started it.** The kernel does not say
which children are orphans, so only a program that knows all of its own children may do this.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import trio


async def reap_orphans(
    is_ours: Callable[[int], bool], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Reap children that this process has not started, until cancelled; report started when SIGCHLD is
    caught.

    Args: `is_ours` returns whether other code waits for this process id.
    """
    with trio.open_signal_receiver(signal.SIGCHLD) as arriving:
        task_status.started()
        await _reap(is_ours)  # children that ended before SIGCHLD was caught
        async for _ in arriving:
            await _reap(is_ours)


async def _reap(is_ours: Callable[[int], bool]) -> None:
    while ended := _next_ended():
        if is_ours(ended):
            # waitid() returns it again, and no other child, until its owner, which its end has woken, reaps
            # it.
            await trio.lowlevel.checkpoint()
        else:
            os.waitpid(ended, os.WNOHANG)  # noqa: ASYNC222 - it has ended


def _next_ended() -> int:
    """Return the id of a child that has ended and is not reaped; 0 if there is none."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return 0 if ended is None else ended.si_pid
