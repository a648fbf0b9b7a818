"""The green requests of one trio run together: one epoll tells which of them has input.

The invariants:

1. **Who sleeps for input is in the crowd, and the epoll reader lives as long as the crowd has anybody.** A
   sleeper is a green task; the last one to leave retires the reader.
2. A socket knows the reader that tells it. The next crowd has another one, to which it is added again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from trio.lowlevel import Task, TrioToken, current_trio_token, spawn_system_task

from triosock._core.transport.checkpoints import checkpoint, sleep, wake
from triosock._core.transport.epoll import HAS_EPOLL, EpollReader

from .watch import Watch

#: For fewer, trio's own `wait_readable()` is the cheaper way.
_ENOUGH: Final = 5


class Crowd:
    """Who handles requests in a trio run now. Made and used in its thread."""

    __slots__ = ("_users", "on_empty", "pid", "reader", "token", "watch")

    def __init__(self) -> None:
        self._users = 0
        self.pid: int = os.getpid()
        self.token: TrioToken = current_trio_token()
        #: Called when nobody is left, once the interpreter ends.
        self.on_empty: Callable[[], object] | None = None
        #: Once there have been enough of them.
        self.reader: EpollReader | None = None
        self.watch: Watch = Watch()

    def enter(self) -> None:
        """Count one more."""
        self._users += 1
        if self._users == _ENOUGH and self.reader is None and HAS_EPOLL:
            self.reader = EpollReader()
            self.reader.users = 1
            spawn_system_task(self.reader.run, name="triosock green input")

    def leave(self) -> None:
        """Count one less."""
        self._users -= 1
        if not self._users and self.reader is not None:
            reader, self.reader = self.reader, None
            reader.leave()
            reader.retire()
        if not self._users and self.on_empty is not None:
            self.on_empty()


class Input:
    """What is known of a green socket's input; whom the epoll reader tells."""

    __slots__ = ("ended", "quiet", "reader", "sleepers")

    def __init__(self) -> None:
        #: The last read has emptied the socket, and nothing has come since.
        self.quiet: bool = False
        #: The end of the stream, or an error, has come: there is always something to read.
        self.ended: bool = False
        #: Who knows of the socket.
        self.reader: EpollReader | None = None
        self.sleepers: list[Task] = []

    def note_input(self, ended: bool) -> None:
        """The epoll reader says: something has come."""
        self.quiet = False
        if ended:
            self.ended = True
        for task in self.sleepers:
            wake(task, self)

    async def sleep(self, task: Task) -> None:
        """Return when something has come. In that task, which has found the socket empty."""
        self.sleepers.append(task)
        try:
            if self.quiet:
                task.custom_sleep_data = self
                await sleep()
            else:
                await checkpoint()
        finally:
            self.sleepers.remove(task)
