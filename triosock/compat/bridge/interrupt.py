"""How to end what a request's thread is blocked in, from outside, and how to tell whether it is idle.

Rules of this file:

1. **The request stays the genuine socket.** Nothing is looked at or put in its way until somebody wants to
   end it; only then is its class changed, to one that knows where a request ends.
2. **Idle means: the peer owes nothing.** All that came was read, and the last word was ours, or nothing was
   said yet. The kernel knows the order (`TCP_INFO`, tcp(7)), to a tick of its clock. It does not for Unix
   sockets: there the files of a StreamRequestHandler take note (`order.py`), and who uses the bare socket
   is not taken for idle before they have answered, after the drain began, and come back to read.
3. An idle request is ended by shutting down the read side: its handler sees the end of the stream. Everybody
   else gets `RequestCut`, raised in their thread, and then the shutdown that wakes them; so that a blocked
   call never returns something that looks like the client's doing.
4. What is not blocked in its socket gets the exception when it next runs Python code, and is named in the
   report.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import ssl
import struct
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from triosock import TriosockError

from ..stdlib.reply_order import answered

# From the beginning of struct tcp_info (linux/tcp.h): last_data_sent and last_data_recv, in milliseconds ago;
# then data_segs_in and data_segs_out; and state, bytes_received, bytes_sent and bytes_retrans (since 4.19).
_LAST_DATA = struct.Struct("=44xI4xI")
_SEGMENTS = struct.Struct("=152xII")
_BYTES = struct.Struct("=B127xQ64xQQ")
_INFO_SIZE = 216
#: CLOSE_WAIT and LAST_ACK: the peer's end of stream has come, which counts as a byte.
_ENDED_BY_PEER = (8, 9)

# What `RequestCut` will say in a thread.
_reasons: dict[int, str] = {}

if TYPE_CHECKING:
    _Mixed = socket.socket
else:
    _Mixed = object


class RequestCut(TriosockError, ConnectionAbortedError):
    """Raised in the thread of a request that has to end now; the text says why.

    It is a ConnectionAbortedError, so that code which copes with lost connections copes with this.
    """

    def __init__(self, reason: str | None = None) -> None:
        # Without an argument it comes from the interpreter, which takes only the class from `cut()`.
        reason = reason or _reasons.get(threading.get_ident(), "the request was cut off")
        super().__init__(reason)
        self.args: tuple[Any, ...] = (reason,)
        self.errno: int | None = errno.ECONNABORTED
        self.reason: str = reason

    def __str__(self) -> str:
        return self.reason


def is_idle(request: Any) -> bool:
    """Whether nothing of a request has been read that is not answered yet, and nothing is there to be
    read.
    """
    if not isinstance(request, socket.socket) or has_unread(request):
        return False
    info = _tcp_info(request)
    if info is None:
        return request in answered or getattr(request, "_green_answered", False) is not False
    came, went = _SEGMENTS.unpack_from(info)
    if not came:
        return True
    sent, received = _LAST_DATA.unpack_from(info)
    return bool(went and sent <= received)


def has_unread(request: socket.socket) -> bool:
    """Whether bytes have arrived that the handler has not read."""
    if isinstance(request, ssl.SSLSocket) and request.pending():
        return True
    try:
        return bool(_peek(request))
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return False  # gone, which the handler finds out by itself


def _peek(request: socket.socket) -> bytes:
    # The method of the plain socket: an SSLSocket refuses flags, and what counts is what the kernel has.
    return socket.socket.recv(request, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)


def count_bytes(request: Any) -> tuple[int, int]:
    """Return how many bytes have come and gone over a TCP connection; (0, 0) where the kernel does not
    say.
    """
    info = _tcp_info(request) if isinstance(request, socket.socket) else None
    if info is None:
        return (0, 0)
    state, received, sent, again = _BYTES.unpack_from(info)
    return (received - (state in _ENDED_BY_PEER), sent - again)


def _tcp_info(request: socket.socket) -> bytes | None:
    if not hasattr(socket, "TCP_INFO") or sys.platform != "linux":
        return None
    try:
        info = request.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    except OSError:
        return None
    return info if len(info) == _INFO_SIZE else None


# Ending


def end_idle(request: Any) -> None:
    """End the idle wait that this request is in, or else the next that it comes to. Work goes on."""
    if not isinstance(request, socket.socket):
        return
    green: Any = request
    if hasattr(green, "_green_last"):
        green._green_last = True
    if is_idle(request):
        _shut_down(request, socket.SHUT_RD)
    if type(request) in _LAST:
        # Layouts agree, as the subclasses add nothing; sockets of other types are waited for until the
        # deadline.
        request.__class__ = _LAST[type(request)]


def cut(request: Any, thread: int, reason: str) -> None:
    """Raise `RequestCut` in the thread and wake it, if it is blocked in this socket."""
    _reasons[thread] = reason
    _raise_in(thread, RequestCut)
    if isinstance(request, socket.socket):
        # Both sides, for it may be blocked in sending.
        _shut_down(request, socket.SHUT_RDWR)


def uncut(thread: int) -> None:
    """Take back a `cut()` that has not been raised yet; called in that thread when its handler has
    returned.
    """
    _raise_in(thread, None)
    _reasons.pop(thread, None)


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    # The only way to reach a thread in a blocking call without a proxy for its socket. CPython's own; see
    # "Thread State and the Global Interpreter Lock" in the C API reference.
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(kind) if kind is not None else None
    )


def _shut_down(request: socket.socket, how: int) -> None:
    try:
        # The plain method: SSLSocket's own would take the TLS layer away under the handler's feet.
        socket.socket.shutdown(request, how)
    except OSError:
        pass  # it has ended by itself


def stack_of(thread: int) -> tuple[str, ...]:
    """Return where a thread is: one line a call ("file:line in function"), the outermost first."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return ()
    found = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
    return tuple(f"{one.filename}:{one.lineno} in {one.name}" for one in reversed(found))


class _Last(_Mixed):
    """What a socket becomes whose server drains: the wait for another request is the end of the stream."""

    __slots__ = ()

    def recv(self, *args: Any) -> bytes:
        return b"" if self._is_over() else bytes(self._read(super().recv(*args)))

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        return 0 if self._is_over() else int(self._read(super().recv_into(*args, **kwargs)))

    def send(self, *args: Any) -> int:
        return int(self._wrote(super().send(*args)))

    def sendall(self, *args: Any) -> None:
        self._wrote(super().sendall(*args))

    def _is_over(self) -> bool:
        return self in answered and not has_unread(self)

    def _read(self, result: Any) -> Any:
        answered.discard(self)
        return result

    def _wrote(self, result: Any) -> Any:
        answered.add(self)
        return result


class _LastSocket(_Last, socket.socket):
    __slots__ = ()


class _LastSSLSocket(_Last, ssl.SSLSocket):  # pyright: ignore[reportIncompatibleMethodOverride]
    pass


_LAST: dict[type, type] = {socket.socket: _LastSocket, ssl.SSLSocket: _LastSSLSocket}
