"""Whether a request is idle, and how many bytes it has carried, according to the kernel.

**A request is idle if all received bytes were read, and this side sent last or nothing was received yet.**
For TCP, the kernel knows when each side last sent (`TCP_INFO`, tcp(7)), to a tick of its clock. For Unix
sockets it does not: the files of a StreamRequestHandler note it (`stdlib/reply_order.py`), and a handler that
uses the bare socket is idle only when it has sent an answer after the drain began, and reads again.

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

# Fields of struct tcp_info (linux/tcp.h): last_data_sent and last_data_recv, as milliseconds ago;
# then data_segs_in and data_segs_out; and state, bytes_received, notsent_bytes, bytes_sent and bytes_retrans
# (since 4.19).
_LAST_DATA = struct.Struct("=44xI4xI")
_SEGMENTS = struct.Struct("=152xII")
_BYTES = struct.Struct("=B127xQ8xI52xQQ")
_INFO_SIZE = 216
#: CLOSE_WAIT and LAST_ACK: the peer's FIN was received, and is counted as a byte.
_ENDED_BY_PEER = (8, 9)
#: The int 0 in the memory layout of FIONREAD's result.
_NONE = struct.pack("i", 0)


def is_idle(request: object) -> bool:
    """Whether the request is idle, as the head of this file defines it. False for what is no socket."""
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
        # Rejected: `recv()` with MSG_PEEK alone. On a socket with a timeout, Python waits for input first.
        # The records of an SSLSocket in the kernel's buffer count as unread too.
        if sys.platform == "win32":
            is_readable = bool(select.select([request], [], [], 0)[0])
            return is_readable and bool(socket.socket.recv(request, 1, socket.MSG_PEEK))
        return _ioctl(request.fileno(), termios.FIONREAD, _NONE) != _NONE
    except (OSError, ValueError):
        return False  # the connection has ended or is closed, and the handler gets the error


def count_bytes(request: object) -> tuple[int, int]:
    """Return the bytes received and sent over a TCP connection; (0, 0) for other requests, and where the
    kernel has no such counts.
    """
    info = _tcp_info(request) if isinstance(request, socket.socket) else None
    if info is None:
        return (0, 0)
    state, received, _, sent, again = _BYTES.unpack_from(info)
    return (received - (state in _ENDED_BY_PEER), sent - again)


def count_received_and_written(request: socket.socket) -> tuple[int, int] | None:
    """Return the bytes received over a TCP connection, and the bytes written to it, sent or still in the send
    buffer; None where the kernel has no such counts.
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
