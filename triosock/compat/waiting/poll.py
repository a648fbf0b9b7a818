"""How an idle `serve_forever()` waits: until a request is there, `shutdown()` is called, or the interval is
over.

Rules of this file:

1. **It differs from the standard library only in that `shutdown()` returns at once.** Each `serve_forever()`
   makes a selector and registers the server in it once. A selector class that a program puts in the place of
   `_ServerSelector` is used as there, with nothing else registered in it (`Waiting`).
2. **An idle server waits in the host's trio run** (`bridge/trio_wait.py`). A busy one avoids the cost: after
   a request its thread waits on a `poll` of its own for a moment, and only then hands the wait over.
3. **A process that the standard library would leave with one thread has one thread here too** (`PollWait`): a
   forking server, and a server without threads in a process that has none, wait on their own selector, with a
   descriptor in it that wakes them. The same wait is used where the host cannot be: in a trio thread, or when
   no thread can be started. A forking server does not import trio: every fork copies its pages, and trio
   would nearly double them.
4. A listener that was closed by another thread, or an accept that fails for want of descriptors, is tried
   again a little later and not in a busy loop. The loop goes on, as the standard library's does, until
   `shutdown()`.
"""

from __future__ import annotations

import errno
import math
import select
import selectors
import socket
from os import getpid
from threading import get_ident
from typing import TYPE_CHECKING

from ..requests import table
from ..requests.clock import now
from ..requests.table import RequestTable, request_table_of
from .wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from ..requests.ports import Server

#: Taken at import, since a program may replace it while a server waits.
_poll: Callable[[], select.poll] | None = getattr(select, "poll", None)

CAN_POLL = _poll is not None

#: How long a server that has just handled a request looks for the next one itself, in seconds. A hand-over
#: costs about 0.2 ms; clients that come one after the other would get 0.4 times the standard library's rate
#: without this. One millisecond is enough on an idle machine; more costs nothing, since `wake()` ends this
#: wait too, and helps where a client is not scheduled for a while.
LINGER = 0.005
LINGER_MS = 5

#: The pause after an accept error that an immediate retry would not cure, in seconds (at most the interval).
PAUSE = 0.1

#: How many datagrams a drain takes from the kernel's buffer at most.
DATAGRAMS_IN_DRAIN = 1000

#: After these errors of accept the connection is still in the queue, and the cause persists.
ASKED_AGAIN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EBADF})

#: The calls of `serve_forever()` that are running. Changed by `append` and `remove` and copied by `tuple`
#: only, each atomic with the GIL, and without it by the list's own lock (PEP 703); so no lock is needed,
#: which a fork could leave locked for ever.
_servings: list[Waiting] = []


class Waiting:
    """One call of `serve_forever()`, as the loop, `shutdown()` and a drain see it; waits like the stdlib."""

    def __init__(self, server: Server, selector: selectors.BaseSelector) -> None:
        self.server = server
        self.draining: bool = False
        #: Whether a drain has found the kernel's queue empty.
        self.swept: bool = False
        self.request_table: RequestTable = request_table_of(server)
        self._selector = selector
        self._left = 0
        #: When it began, in `clock.now()`.
        self.since: float = now()
        self._thread = get_ident()
        self._pid = getpid()

    def __enter__(self) -> Self:
        self._selector = self._selector.__enter__()
        try:
            self._selector.register(self.server, selectors.EVENT_READ)
        except BaseException:
            self._selector.__exit__(None, None, None)
            raise
        _servings.append(self)
        self.request_table.wakers.append(self.wake)
        try:
            self.request_table.hold()
        except BaseException as error:
            self._leave()
            self._selector.__exit__(type(error), error, error.__traceback__)
            raise
        if self.request_table.is_overseen:
            self.request_table.life.loop_begins(self.server)
        if self.request_table.drain is not None:
            self.drain()  # a drain has begun in the meantime
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.draining:
            close_listener(self.server)
        if self.is_here() and self.request_table.is_overseen:
            # Before a drain can see that it is gone, and report the end.
            self.request_table.life.loop_ends(self.server)
        self._leave()
        try:
            self.close()
        finally:
            # Ctrl-C may end close(), which waits for threads.
            self._selector.__exit__(kind, error, traceback)
            if self.is_here():
                self.request_table.poke()
                self.request_table.release()

    def _leave(self) -> None:
        self.request_table.wakers.remove(self.wake)
        _servings.remove(self)

    def wait(self, interval: float | None) -> bool:
        """Return whether there is a request; False after the interval or `wake()`."""
        if self.draining:
            return self._next_in_queue()
        return self._is_ready(interval)

    def wake(self) -> None:
        """End the current wait, or the next one. From any thread."""

    def pause_once(self) -> None:
        """Pause before the next wait; not with a selector of the program's own."""

    def drain(self) -> None:
        """Have the loop take what the kernel has accepted already, close the listener, and end. From any
        thread.
        """
        # As many as fit in the kernel's queue (listen(2) adds one); datagrams have no such number.
        stream = getattr(self.server, "socket_type", None) is not socket.SOCK_DGRAM
        self._left = getattr(self.server, "request_queue_size", 0) + 1 if stream else DATAGRAMS_IN_DRAIN
        self.draining = True
        self.wake()

    def _next_in_queue(self) -> bool:
        self._left -= 1
        self.swept = self._left < 0 or not self._is_ready(0)
        return not self.swept

    def _is_ready(self, interval: float | None) -> bool:
        return bool(self._selector.select(interval))

    def close(self) -> None:
        """Release what the waits needed."""

    def mine(self) -> bool:
        """Whether the calling thread is the serving one."""
        return self._thread == get_ident()

    def is_here(self) -> bool:
        """Whether it runs in this process, and not only in the parent before a fork."""
        return self._pid == getpid()


class PollWait(Waiting):
    """Waits on a `poll` object, with a descriptor in it that `wake()` makes readable. No thread takes part.

    It is not the selector, whose Python layer costs more than the system call.
    """

    def __init__(self, server: Server, selector: selectors.BaseSelector) -> None:
        super().__init__(server, selector)
        assert _poll is not None
        self._poll = _poll()
        self._fd = -1
        self._alarm: Wakeup | None = None
        self._woken = False
        self._exhausted = False
        #: Whether the next wait may begin without a check.
        self._calm = False

    def __enter__(self) -> Self:
        super().__enter__()
        self._fd = next(int(key.fd) for key in self._selector.get_map().values())
        self._poll.register(self._fd, select.POLLIN)
        return self

    def wait(self, interval: float | None) -> bool:
        """As above; also ended by `wake()`."""
        if self._calm:
            return self._is_ready(interval)
        if self.draining:
            return self._next_in_queue()
        if self._alarm is None:
            self._alarm = Wakeup(self._poll)
        # The wakeup exists before the flag is read, and wake() sets the flag before it looks for the wakeup:
        # one of the two sees the other.
        if self._woken:
            self._woken = False
            self._alarm.silence()
            return False
        if self._exhausted and (interval is None or interval > 0):
            self._exhausted = False
            self._alarm.wait_alone(PAUSE if interval is None else min(interval, PAUSE))
            return False
        if self.request_table.is_full:
            self._alarm.wait_alone(interval)
            return False
        self._calm = self.request_table.max_requests == math.inf and not self._exhausted
        if self._woken:
            self._calm = False  # type: ignore[unreachable]  # another thread sets it
        return self._is_ready(interval)

    def pause_once(self) -> None:
        """Pause before the next wait. In the serving thread."""
        self._exhausted = True
        self._calm = False

    def wake(self) -> None:
        """End the current wait, or the next one."""
        self._woken = True
        self._calm = False
        if self._alarm is not None and self.is_here():
            self._alarm.ring()

    def close(self) -> None:
        """Close the wakeup."""
        if self._alarm is not None:
            self._alarm.close()

    def _is_ready(self, interval: float | None) -> bool:
        # Rounded up to milliseconds, as selectors do; compared with 0 first, so that a value that is no
        # number raises the same error.
        if interval is None:
            return self._look(None)
        return self._look(0 if interval <= 0 else math.ceil(interval * 1000))

    def _look(self, milliseconds: int | None) -> bool:
        ready = self._poll.poll(milliseconds)
        if not ready:
            return False
        if ready[0][0] == self._fd or any(fd == self._fd for fd, _ in ready):
            return True
        if self._alarm is not None:
            # Also a wakeup after its flag was seen, which would end every later wait at once.
            self._alarm.silence()
        return False


#: What `_ServerSelector` is unless a program has replaced it.
DEFAULT_SELECTOR: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


def servings_of(server: Server) -> list[Waiting]:
    """Return the calls of `serve_forever()` that run on this server in this process, oldest first."""
    return [serving for serving in tuple(_servings) if serving.server is server and serving.is_here()]


def note_accept_error(server: Server, error: OSError) -> None:
    """Have the loop pause, if an immediate retry would give the same error."""
    pauses = error.errno in ASKED_AGAIN
    request_table = request_table_of(server)
    request_table.accept_errors += 1
    if request_table.emitter is not None:
        action, delay = ("back off", PAUSE) if pauses else ("go on", 0.0)
        table.port.parts.trio().tell_accept_error(request_table, server, error, action, delay)
    if pauses:
        for serving in servings_of(server):
            if serving.mine():
                serving.pause_once()


def close_listener(server: Server) -> None:
    """Close the socket that a server listens on; the rest of `server_close()` is left to its caller."""
    try:
        server.socket.close()
    except (AttributeError, OSError):
        pass  # no socket of this kind, or closed badly
