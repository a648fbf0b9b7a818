"""Whether a request is idle, and how many bytes it has carried, as the kernel knows.

**A request is idle if its peer owes nothing**: all that came was read, and this side sent last, or nothing
was sent yet. The kernel knows the order (`TCP_INFO`, tcp(7)), to a tick of its clock. It does not for Unix
sockets: there the files of a StreamRequestHandler note it (`stdlib/reply_order.py`), and a handler that uses
the bare socket is idle only when it has answered, after the drain began, and reads again.

Nothing here changes a socket.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import sys

from ..stdlib.reply_order import answered

if sys.platform != "win32":
    import termios
    from fcntl import ioctl as _ioctl

# From the beginning of struct tcp_info (linux/tcp.h): last_data_sent and last_data_recv, in milliseconds ago;
# then data_segs_in and data_segs_out; and state, bytes_received, notsent_bytes, bytes_sent and bytes_retrans
# (since 4.19).
_LAST_DATA = struct.Struct("=44xI4xI")
_SEGMENTS = struct.Struct("=152xII")
_BYTES = struct.Struct("=B127xQ8xI52xQQ")
_INFO_SIZE = 216
#: CLOSE_WAIT and LAST_ACK: the peer's end of stream has come, which counts as a byte.
_ENDED_BY_PEER = (8, 9)
#: The number 0, as ioctl(2) gives it.
_NONE = struct.pack("i", 0)


def is_idle(request: object) -> bool:
    """Whether everything that was read is answered, and nothing more has arrived."""
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
    """Whether bytes have arrived that the handler has not read. Never waits."""
    if isinstance(request, ssl.SSLSocket) and request.pending():
        return True
    try:
        # Not `recv()` with MSG_PEEK alone: on a socket with a timeout, Python waits that long before it calls
        # the kernel. Of an SSLSocket only the kernel's buffer counts.
        if sys.platform == "win32":
            is_readable = bool(select.select([request], [], [], 0)[0])
            return is_readable and bool(socket.socket.recv(request, 1, socket.MSG_PEEK))
        return _ioctl(request.fileno(), termios.FIONREAD, _NONE) != _NONE
    except (OSError, ValueError):
        return False  # gone, or closed; the handler will notice


def count_bytes(request: object) -> tuple[int, int]:
    """Return how many bytes have come and gone over a TCP connection; (0, 0) where the kernel does not
    say.
    """
    info = _tcp_info(request) if isinstance(request, socket.socket) else None
    if info is None:
        return (0, 0)
    state, received, _, sent, again = _BYTES.unpack_from(info)
    return (received - (state in _ENDED_BY_PEER), sent - again)


def count_received_and_written(request: socket.socket) -> tuple[int, int] | None:
    """Return how many bytes have come over a TCP connection, and how many were written to it, whether they
    have gone yet or not; None where the kernel does not say.
    """
    info = _tcp_info(request)
    if info is None:
        return None
    _, received, unsent, sent, again = _BYTES.unpack_from(info)
    return (received, sent - again + unsent)


def _tcp_info(request: socket.socket) -> bytes | None:
    if not hasattr(socket, "TCP_INFO") or sys.platform != "linux":
        return None
    try:
        info = request.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    except OSError:
        return None
    return info if len(info) == _INFO_SIZE else None
