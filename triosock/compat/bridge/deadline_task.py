"""The task that enforces `Policy.request_timeout`: it cuts the requests whose time is over.

It runs in the host as long as the server is served or a request of it is handled. It costs the requests
nothing: all have the same time, so the next deadline is that of the oldest, and a later request cannot be due
before the next check.
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
    from ..requests.table import Book


@attrs.define(eq=False)
class DeadlineTask:
    """The deadlines of one book. `Book.hold()` makes it, `Book.release()` ends it."""

    book: Book
    host: Host
    #: Whether the host was borrowed for this; False if the book is supervised in it already.
    own: bool
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def end(self) -> None:
        """Stop, and give the host back."""
        self.host.soon(self.scope.cancel)
        if self.own:
            self.book.supervision.end(self.host)
            hosts.give_back(self.host)


def begin(book: Book, request_timeout: float) -> DeadlineTask:
    """Enforce the deadlines of a book, in the trio run that supervises it already, or in the host of this
    process.

    Raises: RuntimeError if there can be no host, or if this is a trio thread.
    """
    host = book.host
    deadlines = DeadlineTask(book, host or hosts.borrow(), own=host is None)
    try:
        deadlines.host.run(trio.CancelScope(), _start, deadlines, request_timeout)
    except BaseException:
        deadlines.end()
        raise
    return deadlines


async def _start(deadlines: DeadlineTask, request_timeout: float) -> None:
    if deadlines.own:
        deadlines.book.supervision.begin(deadlines.host)
    if request_timeout != math.inf:
        trio.lowlevel.spawn_system_task(_look, deadlines, request_timeout, name="triosock.compat deadlines")


async def _look(deadlines: DeadlineTask, request_timeout: float) -> None:
    with deadlines.scope:
        while True:
            now = trio.current_time()
            due = now + request_timeout
            for entry in deadlines.book.registry.entries():
                end = entry.accepted + request_timeout
                if end <= now:
                    entry.cut(Cause.REQUEST)
                else:
                    due = min(due, end)
            await trio.sleep_until(due)
