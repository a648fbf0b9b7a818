"""The wait of an idle `serve_forever()`: until a request has come, `shutdown()` is called, or the interval is
over.

Rules of this file:

1. **The observable difference from the standard library is that `shutdown()` returns at once.** Each
   `serve_forever()` makes a selector, and registers the server in it once. If a program has replaced
   `_ServerSelector`, its selector is used as there, with nothing else registered in it (`Waiting`).
2. **An idle server waits in the host's trio run** (`bridge/trio_wait.py`). After a request, its thread first
   waits for `POLL_FIRST` seconds on a `poll` of its own, so that a busy server needs no thread switches.
3. **A process that has one thread with the standard library has one thread here too** (`PollWait`): a forking
   server, and a server without threads in a process that has no others, wait on a `poll` of their own, with a
   descriptor in it that wakes them. The same wait is used where there can be no host: in a trio thread, or if
   no thread can be started. A forking server does not import trio: every fork copies its pages, and trio
   would nearly double them.
4. A listener that another thread has closed, or an accept that fails with EMFILE, is tried again after
   `PAUSE`, and not in a busy loop. The loop goes on until `shutdown()`, as the standard library's does.
"""

from __future__ import annotations

import errno
import math
import select
import selectors
import socket
import sys
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

#: As it is at import, since a program may replace it while a server waits.
_poll: Callable[[], select.poll] | None = getattr(select, "poll", None)

CAN_POLL = _poll is not None

#: Seconds that the serving thread itself waits for the next request after one. A wait in the trio run takes
#: about 0.2 ms longer; without this time, clients that connect one after the other get 0.4 times the standard
#: library's rate. One millisecond is enough on an idle machine. More has no cost, since `wake()` ends this
#: wait too, and helps if a client is not scheduled at once.
POLL_FIRST = 0.005
POLL_FIRST_MS = 5

#: Seconds (at most the poll interval) after an accept error that an immediate retry would give again.
PAUSE = 0.1

#: As it is at import, since tests replace `socket.socket`.
_socket = socket.socket
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
#: Where `struct tcp_info` (linux/tcp.h) has tcpi_unacked: of a listening socket, the length of its queue.
_UNACKED = slice(24, 28)

#: The maximum of datagrams that a drain takes from the kernel's buffer.
DATAGRAMS_IN_DRAIN = 1000

#: The errors of accept() after which the connection is still in the queue, and an immediate retry fails
#: again.
PERSISTENT_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EBADF})

#: The running calls of `serve_forever()`. Only `append`, `remove` and `tuple` are used on it, which are
#: atomic by the GIL, or by the list's own lock (PEP 703). Rejected: a lock of ours, which a fork could leave
#: locked for ever.
_servings: list[Waiting] = []


class Waiting:
    """One call of `serve_forever()`, for the loop, `shutdown()` and drains. It waits as the standard library
    does.
    """

    #: Whether it ends by the flag of `shutdown()`, which stops no other loop then.
    resets_flag: bool = True

    def __init__(self, server: Server, selector: selectors.BaseSelector) -> None:
        self.server = server
        self.draining: bool = False
        #: Whether a drain takes nothing more from the kernel's queue: it is empty, or left as it is.
        self.queue_is_empty: bool = False
        self.request_table: RequestTable = request_table_of(server)
        self._selector = selector
        self._remaining = 0
        self._leaves_queue = False
        #: The time of its beginning (`clock.now()`).
        self.since: float = now()
        self._thread = get_ident()
        self._pid = getpid()

    def __enter__(self) -> Self:
        self._selector = self._selector.__enter__()
        try:
            self._selector.register(self.server, selectors.EVENT_READ)
            self.begin()
        except BaseException as error:
            self._selector.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def begin(self) -> None:
        """Let `shutdown()` and drains find the loop. Raises: as `RequestTable.hold()`; nothing is left
        then.
        """
        _servings.append(self)
        self.request_table.wakers.append(self.wake)
        try:
            self.request_table.hold()
        except BaseException:
            self._leave()
            raise
        if self.request_table.is_overseen:
            self.request_table.lifecycle.loop_begins(self.server)
        if self.request_table.drain is not None:
            self.drain()  # a drain has begun before this loop could be found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Any step may fail: the first calls code of the program, and Ctrl-C may interrupt those that wait.
        try:
            self.end()
        finally:
            self._selector.__exit__(kind, error, traceback)
            self.release()

    def end(self) -> None:
        """Undo `begin()`, except for the hold of the request table."""
        try:
            try:
                if self.draining:
                    close_listener(self.server)
            finally:
                if self.is_here() and self.request_table.is_overseen:
                    # Before `_leave()`, after which a drain may report the end.
                    self.request_table.lifecycle.loop_ends(self.server)
        finally:
            self._leave()
            self.close()

    def release(self) -> None:
        """Release the request table, after `end()`."""
        if self.is_here():
            self.request_table.notify()
            self.request_table.release()

    def _leave(self) -> None:
        self.request_table.wakers.remove(self.wake)
        _servings.remove(self)

    def wait(self, interval: float | None) -> bool:
        """Wait; return True if a request has come, False after `interval` seconds (None: no limit) or
        `wake()`.
        """
        if self.draining:
            return self._next_in_queue()
        return self._is_ready(interval)

    def wake(self) -> None:
        """End the current wait, or the next one. From any thread."""

    def pause_once(self) -> None:
        """Pause before the next wait. Does nothing here: the selector is the program's own."""

    def drain(self) -> None:
        """Have the loop take the requests in the kernel's queue, close the listener, and end. From any
        thread.
        """
        self._remaining = _queue_length(self.server)
        self.draining = True
        self.wake()

    def leave_queue(self) -> None:
        """Have the loop, which drains, take nothing more from the kernel's queue. From any thread."""
        self._leaves_queue = True

    def _next_in_queue(self) -> bool:
        self._remaining -= 1
        self.queue_is_empty = self._leaves_queue or self._remaining < 0 or not self._is_ready(0)
        return not self.queue_is_empty

    def _is_ready(self, interval: float | None) -> bool:
        return bool(self._selector.select(interval))

    def close(self) -> None:
        """Release the resources of the waits."""

    def is_own_thread(self) -> bool:
        """Whether the calling thread is the serving one."""
        return self._thread == get_ident()

    def is_here(self) -> bool:
        """Whether it runs in this process, and not in the parent of a fork."""
        return self._pid == getpid()


class PollWait(Waiting):
    """Waits on a `poll` object, with a descriptor in it that `wake()` makes readable. It needs no other
    thread.

    Rejected: the selector, whose Python code takes longer than the system call.
    """

    def __init__(self, server: Server, selector: selectors.BaseSelector) -> None:
        super().__init__(server, selector)
        assert _poll is not None
        self._poll = _poll()
        self._fd = -1
        self._wakeup: Wakeup | None = None
        self._woken = False
        self._must_pause = False
        #: Whether the next wait may begin without the checks for a wake-up, a drain or a limit.
        self._skips_checks = False

    def __enter__(self) -> Self:
        super().__enter__()
        self._fd = next(int(key.fd) for key in self._selector.get_map().values())
        self._poll.register(self._fd, select.POLLIN)
        return self

    def wait(self, interval: float | None) -> bool:
        """As `Waiting.wait()`; `wake()` ends it."""
        if self._skips_checks:
            return self._is_ready(interval)
        if self.draining:
            return self._next_in_queue()
        if self._wakeup is None:
            self._wakeup = Wakeup(self._poll)
        # The wakeup exists before the flag is read, and wake() sets the flag before it looks for the wakeup;
        # so no call of wake() is missed.
        if self._woken:
            self._woken = False
            self._wakeup.reset()
            return False
        if self._must_pause and (interval is None or interval > 0):
            self._must_pause = False
            self._wakeup.wait(PAUSE if interval is None else min(interval, PAUSE))
            return False
        if self.request_table.is_full:
            self._wakeup.wait(interval)
            return False
        self._skips_checks = self.request_table.max_requests == math.inf and not self._must_pause
        if self._woken:
            self._skips_checks = False  # type: ignore[unreachable]  # set by another thread
        return self._is_ready(interval)

    def pause_once(self) -> None:
        """Pause before the next wait. In the serving thread."""
        self._must_pause = True
        self._skips_checks = False

    def wake(self) -> None:
        """End the current wait, or the next one."""
        self._woken = True
        self._skips_checks = False
        if self._wakeup is not None and self.is_here():
            self._wakeup.signal()

    def close(self) -> None:
        """Close the wakeup."""
        if self._wakeup is not None:
            self._wakeup.close()

    def _is_ready(self, interval: float | None) -> bool:
        # Rounded up to milliseconds, and compared with 0 first, as selectors do, so that a value that is no
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
        if self._wakeup is not None:
            # Reset here too: a signal that comes after its flag was read would end every later wait at once.
            self._wakeup.reset()
        return False


def _queue_length(server: Server) -> int:
    """Return how many requests are in the kernel's queue at most. For datagrams there is no such number."""
    if getattr(server, "socket_type", None) is socket.SOCK_DGRAM:
        return DATAGRAMS_IN_DRAIN
    # It has one place more than listen(2) was given, which may be another number than the class says.
    length = int(getattr(server, "request_queue_size", 0)) + 1
    listener = getattr(server, "socket", None)
    if _TCP_INFO is None or not isinstance(listener, _socket):
        return length
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _UNACKED.stop)
    except OSError:
        return length  # it is closed, or not of TCP
    return max(length, int.from_bytes(info[_UNACKED], sys.byteorder))


#: What `_ServerSelector` is unless a program has replaced it.
DEFAULT_SELECTOR: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


def servings_of(server: Server) -> list[Waiting]:
    """Return the calls of `serve_forever()` that run on this server in this process, oldest first."""
    return [serving for serving in tuple(_servings) if serving.server is server and serving.is_here()]


def note_accept_error(server: Server, error: OSError) -> None:
    """Count an error of accept(), emit its event, and have the loop pause if a retry would fail again."""
    pauses = error.errno in PERSISTENT_ERRORS
    request_table = request_table_of(server)
    request_table.accept_errors += 1
    if request_table.emitter is not None:
        action, delay = ("back off", PAUSE) if pauses else ("go on", 0.0)
        table.port.parts.trio().emit_accept_failed(request_table, server, error, action, delay)
    if pauses:
        for serving in servings_of(server):
            if serving.is_own_thread():
                serving.pause_once()


def close_listener(server: Server) -> None:
    """Close the socket that a server listens on; the rest of `server_close()` is left to its caller."""
    try:
        server.socket.close()
    except (AttributeError, OSError):
        pass  # the server has no such socket, or its close() has failed
