"""Ends a blocking call of the thread of a request, from another thread.

Rules of this file:

1. **The request is the original socket object.** Its class is changed only when a drain begins, to one that
   notes where a request ends (`draining_socket.py`).
2. An idle request (`tcp_state.py`) is ended by a shutdown of its read side: its handler sees the end of the
   stream. For any other request, `RequestCut` is first raised in its thread, and then a shutdown wakes the
   thread; so a blocked call never returns as if the client had closed.
3. A thread that is blocked elsewhere than in its socket gets the exception when it next runs Python code, and
   is described in the report.
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

#: The reason for the `RequestCut` of each thread, by its identifier.
_reasons: dict[int, str] = {}


class RequestCut(TriosockError, ConnectionAbortedError):
    """Raised in the thread of a request that is cut; the text says why.

    It is a ConnectionAbortedError, so that code that handles lost connections handles this.
    """

    def __init__(self, reason: str | None = None) -> None:
        # The interpreter, which gets only the class from `cut()`, makes it without an argument.
        reason = reason or _reasons.get(threading.get_ident(), "the request was cut off")
        super().__init__(reason)
        self.args: tuple[object, ...] = (reason,)
        self.errno: int | None = errno.ECONNABORTED
        self.reason: str = reason

    def __str__(self) -> str:
        return self.reason


def end_idle(request: object) -> None:
    """End the idle wait of this request, or its next one. A request in progress is not ended."""
    if not isinstance(request, socket.socket):
        return
    green: Any = request
    if hasattr(green, "_green_draining"):
        green._green_draining = True
    # In this order: an answer that is sent before the check makes the request idle, and one that is sent
    # later is noted by the changed class. In the other order, a request that is answered in between would
    # wait for the next one.
    make_draining(request)
    if is_idle(request):
        _shut_down(request, socket.SHUT_RD)


def cut(request: object, thread: int, reason: str) -> None:
    """Raise `RequestCut` in the thread, and wake the thread if it is blocked in this socket."""
    _reasons[thread] = reason
    _raise_in(thread, RequestCut)
    if isinstance(request, socket.socket):
        # In both directions, since the thread may be blocked in sending.
        _shut_down(request, socket.SHUT_RDWR)


class _Withdrawn(BaseException):
    """Replaces a `RequestCut` that has not been raised yet; `withdraw_cut()` always catches it."""


def withdraw_cut(thread: int) -> None:
    """Withdraw a `cut()` that has not been raised yet; called in that thread after its handler."""
    # Rejected: PyThreadState_SetAsyncExc(thread, NULL), which withdraws it too. Until 3.13 the interpreter
    # clears its flag "an exception is pending" only when one is raised. With the flag set, each call takes
    # the slow path, and on 3.11 a function that is traced by a profiler or debugger never begins.
    try:
        _raise_in(thread, _Withdrawn)
        for _ in range(1000):  # it is raised after the call above, or after an iteration of a loop
            pass
    except _Withdrawn:
        pass
    _reasons.pop(thread, None)


def _raise_in(thread: int, kind: type[BaseException]) -> None:
    # No other call reaches a thread that runs Python code, without a wrapper around its socket. It is
    # CPython's: "Thread State and the Global Interpreter Lock" in the C API reference.
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


def _shut_down(request: socket.socket, how: int) -> None:
    try:
        # Not `SSLSocket.shutdown()`, which would remove the TLS layer while the handler uses it.
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
