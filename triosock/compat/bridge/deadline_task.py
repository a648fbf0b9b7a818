"""The task that enforces `Policy.request_timeout`: it cuts requests that have passed it.

It runs in the host as long as a loop of the server runs or a request is handled. Requests do not register
with it: all have the same timeout, so the oldest has the next deadline, and no later request is due before
the next check.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import trio

from triosock import Cause

from . import trio_thread as hosts

if TYPE_CHECKING:
    from ..requests.ports import Host
    from ..requests.table import RequestTable


@attrs.define(eq=False)
class DeadlineTask:
    """The deadlines of one request table. Its `hold()` makes it, its `release()` ends it."""

    request_table: RequestTable
    host: Host
    #: Whether the host was acquired for this task; False if the request table was supervised in it already.
    own: bool
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def end(self) -> None:
        """Stop the task, and release the host if this has acquired it."""
        self.host.soon(self.scope.cancel)
        if self.own:
            self.request_table.supervision.end(self.host)
            hosts.release_host(self.host)


def begin(request_table: RequestTable, request_timeout: float) -> DeadlineTask:
    """Enforce the deadlines of a request table, in the trio run that supervises it already, or in the host
    of this process.

    Raises: RuntimeError if the host cannot be started, or in a trio thread.
    """
    host = request_table.host
    deadlines = DeadlineTask(request_table, host or hosts.acquire_host(), own=host is None)
    try:
        deadlines.host.run(trio.CancelScope(), _start, deadlines, request_timeout)
    except BaseException:
        deadlines.end()
        raise
    return deadlines


async def _start(deadlines: DeadlineTask, request_timeout: float) -> None:
    if deadlines.own:
        deadlines.request_table.supervision.begin(deadlines.host)
    if request_timeout != math.inf:
        trio.lowlevel.spawn_system_task(
            _enforce, deadlines, request_timeout, name="triosock.compat deadlines"
        )


async def _enforce(deadlines: DeadlineTask, request_timeout: float) -> None:
    with deadlines.scope:
        while True:
            now = trio.current_time()
            due = now + request_timeout
            for entry in deadlines.request_table.registry.entries():
                end = entry.accepted + request_timeout
                if end <= now:
                    entry.cut(Cause.REQUEST)
                else:
                    due = min(due, end)
            await trio.sleep_until(due)
