"""What `handle_request()` waits with.

In nearly all cases it waits as in the standard library. There are two others: the server has
`Policy.max_requests`; or `compat.serve()` serves it, and it has a `serve_forever()` of its own, which loops
over `handle_request()`.

Rules of this file:

1. No value that `handle_request()` returns ends such a loop. So when a drain has taken the kernel's queue, or
   the server is cancelled, `handle_request()` raises `LoopEnded`, which leaves the loop as Ctrl-C does.
   `OwnLoop.run()` catches it.
2. The loop can be found by drains from its first `handle_request()` to its end, also between two calls: a
   drain waits for the end of the loop, and the limit of what it takes from the queue is that of one loop.
3. Only a call of the loop itself is ended: not that of another thread, of a handler in the standard library's
   loop, or of the child of a fork.
4. If a program has replaced `_ServerSelector`, nothing else is registered in its selector: the loop then ends
   with the next call.
"""

from __future__ import annotations

import math
import selectors
from functools import partial
from os import getpid
from threading import get_ident
from typing import TYPE_CHECKING

from ..requests.table import SLOT
from .poll import DEFAULT_SELECTOR, PAUSE, Waiting, servings_of
from .wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..requests.ports import Server
    from ..requests.table import RequestTable


class LoopEnded(BaseException):
    """Raised by `handle_request()` to end the loop that calls it. No Exception, so that loops that survive
    errors do not catch it.
    """


#: The loops by their threads. Its items are set, popped and read in these threads only.
_running: dict[int, OwnLoop] = {}


def select_of(server: Server, selector: selectors.BaseSelector) -> Callable[[float | None], object]:
    """Return what `handle_request()` of a server waits with, in its thread: the `select` of its selector, or
    a function that is called in the same way.
    """
    loop = _running.get(get_ident())
    if loop is not None and loop.server is server:
        return loop.select_of(selector)
    request_table: RequestTable | None = vars(server).get(SLOT)
    if request_table is None or request_table.max_requests == math.inf:
        return selector.select
    return partial(_select_if_room, request_table, selector)


def _select_if_room(
    request_table: RequestTable, selector: selectors.BaseSelector, timeout: float | None
) -> object:
    if request_table.pid != getpid() or not request_table.is_full:
        return selector.select(timeout)
    wakeup = Wakeup(None)
    request_table.wakers.append(wakeup.signal)
    try:
        # Checked again, since a request may have ended before it could signal.
        if request_table.is_full:
            wakeup.wait(timeout)
    finally:
        request_table.wakers.remove(wakeup.signal)
        wakeup.close()
    return None  # called again for the rest of the time


class OwnLoop:
    """The loop of one server, in the thread that calls `run()`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._wait: _OwnWait | None = None
        #: Whether it must end without taking more requests.
        self.is_cut: bool = False

    def run(self, serve_forever: Callable[[], object]) -> None:
        """Call `serve_forever()`; return when it has returned or was ended. Raises: what it raises."""
        _running[get_ident()] = self
        try:
            serve_forever()
        except LoopEnded:
            pass
        finally:
            del _running[get_ident()]
            wait = self._wait
            if wait is not None:
                try:
                    wait.end()
                finally:
                    wait.release()

    def cut(self) -> None:
        """End the loop, without taking more requests. From any thread."""
        self.is_cut = True
        # A loop that is not found here yet reads the flag later.
        wait = self._wait
        if wait is not None:
            wait.wake()

    def select_of(self, selector: selectors.BaseSelector) -> Callable[[float | None], object]:
        """As the function `select_of()`, for this loop."""
        if self._wait is None:
            if servings_of(self.server):
                return selector.select  # a handler, in a loop of the standard library
            wait = _OwnWait(self.server, self)
            wait.begin()
            self._wait = wait
        return self._wait.select_of(selector) if self._wait.is_here() else selector.select


class _OwnWait(Waiting):
    """Waits with the selectors of many calls of `handle_request()`, one after the other."""

    #: The loop may call the standard library's, which is to be woken then.
    resets_flag = False

    def __init__(self, server: Server, loop: OwnLoop) -> None:
        super().__init__(server, DEFAULT_SELECTOR())
        self._loop = loop
        self._wakeup = Wakeup(None)
        self._has_raised = False

    def select_of(self, selector: selectors.BaseSelector) -> Callable[[float | None], bool]:
        """Return the function that waits with this selector."""
        self._selector = selector
        if type(selector) is DEFAULT_SELECTOR and self._wakeup.fd != -1:
            selector.register(self._wakeup.fd, selectors.EVENT_READ)
        return self._select

    def wake(self) -> None:
        """End the current wait, or the next one."""
        self._wakeup.signal()

    def close(self) -> None:
        """Close the wakeup."""
        self._wakeup.close()

    def _select(self, timeout: float | None) -> bool:
        # Before the flags are read: they are set before the wakeup is signalled.
        self._wakeup.reset()
        self._end_if_due()
        is_ready = self.wait(timeout)
        self._end_if_due()
        return is_ready

    def _end_if_due(self) -> None:
        if self._loop.is_cut or self.queue_is_empty:
            if self._has_raised:
                self._wakeup.wait(PAUSE)  # the program catches everything, and would busy-loop
            self._has_raised = True
            raise LoopEnded

    def _is_ready(self, interval: float | None) -> bool:
        if self.request_table.is_full and not self.draining:
            self._wakeup.wait(interval)
            return False
        return any(key.fileobj is self.server for key, _ in self._selector.select(interval))
