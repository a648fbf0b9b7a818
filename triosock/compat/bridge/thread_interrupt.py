"""Ends a blocking call of a request's thread, from another thread.

Rules of this file:

1. **The request stays the original socket.** Only when it is to end is its class changed, to one that knows
   where a request ends (`draining_socket.py`).
2. An idle request (`tcp_state.py`) is ended by shutting down the read side: its handler sees the end of the
   stream. Any other request gets `RequestCut`, raised in its thread, and then the shutdown that wakes it; so
   a blocked call never returns as if the client had closed.
3. A thread that is not blocked in its socket gets the exception when it next runs Python code, and is named
   in the report.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import sys
import threading
import traceback
from typing import Any

from triosock import TriosockError

from .draining_socket import make_draining
from .tcp_state import is_idle

#: The text of the `RequestCut` of each thread.
_reasons: dict[int, str] = {}


class RequestCut(TriosockError, ConnectionAbortedError):
    """Raised in the thread of a request that is cut; the text says why.

    It is a ConnectionAbortedError, so that code which copes with lost connections copes with this.
    """

    def __init__(self, reason: str | None = None) -> None:
        # Without an argument it comes from the interpreter, which takes only the class from `cut()`.
        reason = reason or _reasons.get(threading.get_ident(), "the request was cut off")
        super().__init__(reason)
        self.args: tuple[object, ...] = (reason,)
        self.errno: int | None = errno.ECONNABORTED
        self.reason: str = reason

    def __str__(self) -> str:
        return self.reason


def end_idle(request: object) -> None:
    """End the current idle wait of this request, or its next one. A request in progress goes on."""
    if not isinstance(request, socket.socket):
        return
    green: Any = request
    if hasattr(green, "_green_last"):
        green._green_last = True
    # In this order: an answer that is sent before the look makes it idle, and one that is sent later is noted
    # by the changed class. The other way round, a request that is answered in between would wait for another.
    make_draining(request)
    if is_idle(request):
        _shut_down(request, socket.SHUT_RD)


def cut(request: object, thread: int, reason: str) -> None:
    """Raise `RequestCut` in the thread and wake it, if it is blocked in this socket."""
    _reasons[thread] = reason
    _raise_in(thread, RequestCut)
    if isinstance(request, socket.socket):
        # Both directions, since it may be blocked in sending.
        _shut_down(request, socket.SHUT_RDWR)


class _Withdrawn(BaseException):
    """Replaces a `RequestCut` that has not been raised yet; `withdraw_cut()` always catches it."""


def withdraw_cut(thread: int) -> None:
    """Withdraw a `cut()` that has not been raised yet; called in that thread after its handler."""
    # NULL instead of an exception would withdraw it, too. But until 3.13 the interpreter clears its flag "an
    # exception is pending" only when one is raised. With the flag set, each call takes the slow way, and on
    # 3.11 a function that a profiler or debugger traces never begins. So one is raised, and caught here.
    try:
        _raise_in(thread, _Withdrawn)
        for _ in range(1000):  # it is raised at the end of the call above, or of a turn of a loop
            pass
    except _Withdrawn:
        pass
    _reasons.pop(thread, None)


def _raise_in(thread: int, kind: type[BaseException]) -> None:
    # The only way to reach a thread in a blocking call without wrapping its socket. It is CPython's; see
    # "Thread State and the Global Interpreter Lock" in the C API reference.
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


def _shut_down(request: socket.socket, how: int) -> None:
    try:
        # The plain method: that of SSLSocket would remove the TLS layer while the handler uses it.
        socket.socket.shutdown(request, how)
    except OSError:
        pass  # the connection has ended already


def stack_of(thread: int) -> tuple[str, ...]:
    """Return the stack of a thread: one line a call ("file:line in function"), the outermost first."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return ()
    found = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
    return tuple(f"{one.filename}:{one.lineno} in {one.name}" for one in reversed(found))
