"""Notes which side of a Unix socket sent last, since the kernel does not know it.

Rules of this file: no strong reference to a socket is kept, and only the stock files are changed.
"""

from __future__ import annotations

import socket
import weakref
from io import BufferedIOBase
from typing import TYPE_CHECKING

from .writer import _SocketWriter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

#: Sockets whose handlers have sent something and not read since.
answered: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def note_order(connection: socket.socket, rfile: BufferedIOBase, wfile: BufferedIOBase) -> BufferedIOBase:
    """Have the files of a connection note what `is_idle()` needs (`bridge/tcp_state.py`); return `wfile`."""
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

    _sock: socket.socket  # typeshed does not have it

    def readinto(self, b: WriteableBuffer) -> int | None:
        size = super().readinto(b)
        if size:
            answered.discard(self._sock)
        return size

    def write(self, b: ReadableBuffer) -> int | None:
        size = super().write(b)
        answered.add(self._sock)
        return size


class _NotingWriter(_SocketWriter):
    """An unbuffered `wfile`."""

    def write(self, data: ReadableBuffer) -> int:
        size = super().write(data)
        answered.add(self._sock)
        return size


_NotingWriter.__name__ = _NotingWriter.__qualname__ = "_SocketWriter"
