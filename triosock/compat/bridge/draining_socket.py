"""The socket of a request during a drain: a wait for another request returns the end of the stream.

The object stays and its class is changed, which is possible since these classes add no attributes. Sockets of
other types stay as they are; their requests have until the deadline.

The invariant: **a wait is ended only if this side sent last.** The new class notes what it sends and reads. A
call of the old class may be under way when the class is changed, unseen, and only one, since a handler makes
one call after the other. If more was written since the change, and nothing has come, that call has sent an
answer. When each of the two was last done does not tell, for the kernel's clock is too coarse: it may be the
beginning of a request that was read, and not an answer that was sent.
"""

from __future__ import annotations

import socket
import ssl
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from ..stdlib.reply_order import answered
from .tcp_state import count_received_and_written, has_unread

T = TypeVar("T")
#: Sockets whose class was changed, and which were neither read from nor written to since: how many bytes had
#: come and were written then.
_at_change: weakref.WeakKeyDictionary[socket.socket, tuple[int, int]] = weakref.WeakKeyDictionary()

if TYPE_CHECKING:
    _Mixed = socket.socket
else:
    _Mixed = object


class _Draining(_Mixed):
    """The part that plain and TLS sockets share."""

    __slots__ = ()

    # Called with the same arguments: an SSLSocket's `recv()` needs none, a socket's does.

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
    # In this order: what is not in the count is noted, or is the one call that is under way.
    request.__class__ = kind
    counts = count_received_and_written(request)
    if counts is not None:
        _at_change[request] = counts


def _has_answered_since(request: socket.socket, before: tuple[int, int]) -> bool:
    now = count_received_and_written(request)
    return now is not None and now[0] == before[0] and now[1] > before[1]
