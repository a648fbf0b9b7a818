"""Who had the last word on a connection: kept where the kernel does not keep it, on Unix sockets.

Rules of this file: nothing here holds a socket, and nothing but the stock files is touched.
"""

from __future__ import annotations

import socket
import weakref
from typing import Any

from .writer import _SocketWriter

#: Sockets whose handlers have sent something and not read since.
answered: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def note_order(connection: socket.socket, rfile: Any, wfile: Any) -> Any:
    """Have the files of a connection keep what `is_idle()` needs (`bridge/tcp_state.py`); return the one to
    write to.
    """
    answered.add(connection)
    for file in (rfile, wfile):
        raw = getattr(file, "raw", None)
        if type(raw) is socket.SocketIO:
            raw.__class__ = _NotingFile
    if type(wfile) is _SocketWriter:
        wfile.__class__ = _NotingWriter
    return wfile


class _NotingFile(socket.SocketIO):
    """The raw file under `rfile`, and under a buffered `wfile`."""

    def readinto(self, buffer: Any) -> int | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        size = super().readinto(buffer)
        if size:
            answered.discard(self._sock)  # type: ignore[attr-defined]
        return size

    def write(self, data: Any) -> int | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        size = super().write(data)
        answered.add(self._sock)  # type: ignore[attr-defined]
        return size


class _NotingWriter(_SocketWriter):
    """An unbuffered `wfile`."""

    def write(self, data: Any) -> int:
        size = super().write(data)
        answered.add(self._sock)
        return size


_NotingWriter.__name__ = _NotingWriter.__qualname__ = "_SocketWriter"
