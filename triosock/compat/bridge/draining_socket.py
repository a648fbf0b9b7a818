"""The socket of a request during a drain: a wait for another request returns the end of the stream.

The object stays and its class is changed, which is possible since these classes add no attributes. Sockets of
other types stay as they are; their requests have until the deadline.
"""

from __future__ import annotations

import socket
import ssl
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from ..stdlib.reply_order import answered
from .tcp_state import has_unread, is_idle

T = TypeVar("T")
#: Sockets whose class was changed, and which were not read from since. An answer may have been under way by
#: the method of the old class, unseen: so the kernel is asked once more.
_unsure: weakref.WeakSet[socket.socket] = weakref.WeakSet()

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
        if self in _unsure:
            _unsure.discard(self)
            return is_idle(self)
        return self in answered and not has_unread(self)

    def _read(self, result: T) -> T:
        answered.discard(self)
        return result

    def _wrote(self, result: T) -> T:
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
    if kind is not None:
        _unsure.add(request)
        request.__class__ = kind
