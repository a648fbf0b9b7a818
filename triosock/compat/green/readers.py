"""The reader group: the green requests of one trio run share one epoll reader.

The invariants:

1. **Every task that sleeps for input is in the reader group, and the epoll reader runs while the reader
   group is not empty.** The last task to leave ends the reader.
2. A socket has a reference to its reader. A new reader has another identity, and the socket is added to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from trio.lowlevel import Task, TrioToken, current_trio_token, spawn_system_task

from triosock._core.transport.checkpoints import checkpoint, sleep, wake
from triosock._core.transport.epoll import HAS_EPOLL, EpollReader

from .watch import Watch

#: The number of requests from which on an epoll reader is cheaper than trio's `wait_readable()`.
_ENOUGH: Final = 5


class ReaderGroup:
    """The green requests of one trio run. Made and used in its thread."""

    __slots__ = ("__weakref__", "_users", "on_empty", "pid", "reader", "token", "watch")

    def __init__(self) -> None:
        self._users = 0
        self.pid: int = os.getpid()
        self.token: TrioToken = current_trio_token()
        #: Set when the interpreter ends: called when the last request has left.
        self.on_empty: Callable[[], object] | None = None
        #: None until there are `_ENOUGH` requests.
        self.reader: EpollReader | None = None
        self.watch: Watch = Watch()

    @property
    def size(self) -> int:
        """The number of requests."""
        return self._users

    def enter(self) -> None:
        """Add one request."""
        self._users += 1
        if self._users == _ENOUGH and self.reader is None and HAS_EPOLL:
            self.reader = EpollReader()
            self.reader.users = 1
            spawn_system_task(self.reader.run, name="triosock green input")

    def leave(self) -> None:
        """Remove one request."""
        self._users -= 1
        if not self._users and self.reader is not None:
            reader, self.reader = self.reader, None
            reader.leave()
            reader.retire()
        if not self._users and self.on_empty is not None:
            self.on_empty()


class Input:
    """The state of the input of a green socket. The epoll reader updates it."""

    __slots__ = ("ended", "quiet", "reader", "sleepers")

    def __init__(self) -> None:
        #: Whether the last read has emptied the socket, and nothing has arrived since.
        self.quiet: bool = False
        #: Whether the end of the stream or an error has come: the socket is readable from then on.
        self.ended: bool = False
        #: The epoll reader that watches the socket.
        self.reader: EpollReader | None = None
        self.sleepers: list[Task] = []

    def note_input(self, ended: bool) -> None:
        """Note that something has arrived. The epoll reader calls this."""
        self.quiet = False
        if ended:
            self.ended = True
        for task in self.sleepers:
            wake(task, self)

    async def sleep(self, task: Task) -> None:
        """Return when something has arrived. In the task that has found the socket empty."""
        self.sleepers.append(task)
        try:
            if self.quiet:
                task.custom_sleep_data = self
                await sleep()
            else:
                await checkpoint()
        finally:
            self.sleepers.remove(task)
