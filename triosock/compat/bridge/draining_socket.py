"""The socket of a request during a drain: a wait for another request returns the end of the stream.

The class of the socket object is changed, which is possible since these classes add no attributes. Sockets of
other types are not changed; their requests may run until the deadline of the drain.

The invariant: **a wait is ended only if this side sent last.** The new class notes what it sends and reads.
It does not see a call of the old class that is in progress when the class is changed; there is at most one,
since a handler makes one call after the other. If bytes were written since the change and none were received,
that call has sent an answer. Rejected: the kernel's times of the last byte in each direction. Its clock is
too coarse to tell an answer that was sent from the beginning of a request that was read.
"""

from __future__ import annotations

import socket
import ssl
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from ..stdlib.reply_order import answered
from .tcp_state import count_received_and_written, has_unread

T = TypeVar("T")
#: The numbers of bytes received and written when the class of a socket was changed, until it is next read or
#: written.
_at_change: weakref.WeakKeyDictionary[socket.socket, tuple[int, int]] = weakref.WeakKeyDictionary()

if TYPE_CHECKING:
    _Mixed = socket.socket
else:
    _Mixed = object


class _Draining(_Mixed):
    """The part that plain and TLS sockets share."""

    __slots__ = ()

    # The arguments are passed on as they are: `SSLSocket.recv()` has a default, `socket.recv()` has none.

    def recv(self, *args: Any) -> bytes:
        return b"" if self._is_over() else self._read(super().recv(*args))

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        return 0 if self._is_over() else self._read(super().recv_into(*args, **kwargs))

    def send(self, *args: Any) -> int:
        return self._wrote(super().send(*args))

    def sendall(self, *args: Any) -> None:
        self._wrote(super().sendall(*args))

    def _is_over(self) -> bool:
        before = _at_change.pop(self, None)
        if before is not None and _has_answered_since(self, before):
            answered.add(self)
        return self in answered and not has_unread(self)

    def _read(self, result: T) -> T:
        answered.discard(self)
        return result

    def _wrote(self, result: T) -> T:
        _at_change.pop(self, None)
        answered.add(self)
        return result


class _DrainingSocket(_Draining, socket.socket):
    __slots__ = ()


class _DrainingSSLSocket(_Draining, ssl.SSLSocket):  # pyright: ignore[reportIncompatibleMethodOverride]
    pass


_DRAINING: dict[type, type] = {socket.socket: _DrainingSocket, ssl.SSLSocket: _DrainingSSLSocket}


def make_draining(request: socket.socket) -> None:
    """From now on, end a wait for another request as at the end of the stream."""
    kind = _DRAINING.get(type(request))
    if kind is None:
        return
    # In this order: bytes that are not counted here are noted by the new class, or belong to the one call
    # that is in progress.
    request.__class__ = kind
    counts = count_received_and_written(request)
    if counts is not None:
        _at_change[request] = counts


def _has_answered_since(request: socket.socket, before: tuple[int, int]) -> bool:
    now = count_received_and_written(request)
    return now is not None and now[0] == before[0] and now[1] > before[1]
