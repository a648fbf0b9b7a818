"""The control messages of a datagram: the address that it was sent to, and how many before it were lost.

A socket that is bound to all addresses (``0.0.0.0``, ``::``) would answer from whichever address the routing
table prefers, and a client that has used another one discards such a reply. So the kernel is asked for the
destination of each datagram (ip(7): IP_PKTINFO, RFC 3542, 6.1: IPV6_RECVPKTINFO), and uses it as the source
of the reply. Pure functions over bytes, but for `prepare`.

The rules:

1. A reply leaves from the address that the request was sent to, **unless that cannot be a source**
   (multicast, broadcast): there the kernel chooses. For IPv4 it names its choice itself (ipi_spec_dst).
2. The interface is left to the routing table, except for link-local addresses, which mean nothing without it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from typing import Final, NamedTuple, TypeAlias

#: One control message, as recvmsg(2) and sendmsg(2) have it: level, type, data.
ControlMessage: TypeAlias = tuple[int, int, bytes]

_LINUX: Final = sys.platform == "linux"
#: Not in every Python's socket module (IP_PKTINFO came with 3.12), though in every Linux: ip(7), socket(7).
IP_PKTINFO: Final[int | None] = getattr(socket, "IP_PKTINFO", 8 if _LINUX else None)
_IP_RECVERR: Final[int | None] = 11 if _LINUX else None
_IPV6_RECVERR: Final[int | None] = 25 if _LINUX else None
SO_RXQ_OVFL: Final[int | None] = 40 if _LINUX else None
_SO_MEMINFO: Final[int | None] = 55 if _LINUX else None
_MEMINFO_DROPS: Final = 8  # SK_MEMINFO_DROPS, linux/sock_diag.h

_V4: Final = struct.Struct("=i4s4s")  # struct in_pktinfo: interface, our address for replies, the header's
_V6: Final = struct.Struct("=16si")  # struct in6_pktinfo: the header's address, interface
_U32: Final = struct.Struct("=I")

#: Room for both messages: 12 and 20 bytes, each with a header and padded (CMSG_SPACE).
CONTROL_SIZE: Final = 128


class Origin(NamedTuple):
    """The local address that a datagram was sent to: its `host`, and the `interface` it came in by."""

    host: str
    interface: int


def prepare(sock: socket.socket, *, wildcard: bool) -> None:
    """Enable the control messages that this file reads; with `wildcard`, destinations too. Options that the
    system does not have are skipped.
    """
    options: list[tuple[int, int | None, int]] = [(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)]
    if sock.family == socket.AF_INET:
        # An ICMP error of an earlier reply would be raised by an unrelated receive or send, and an error
        # queue that is not read would keep the socket readable for ever: ip(7), IP_RECVERR.
        options += [(socket.IPPROTO_IP, _IP_RECVERR, 0)]
        options += [(socket.IPPROTO_IP, IP_PKTINFO, 1)] if wildcard else []
    elif sock.family == socket.AF_INET6:
        options += [(socket.IPPROTO_IPV6, _IPV6_RECVERR, 0)]
        option = getattr(socket, "IPV6_RECVPKTINFO", None)
        options += [(socket.IPPROTO_IPV6, option, 1)] if wildcard else []
    for level, name, value in options:
        if name is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(level, name, value)


def is_destination(level: int, kind: int) -> bool:
    """Whether a control message says where its datagram was sent to."""
    return (level == socket.IPPROTO_IP and kind == IP_PKTINFO) or (
        level == socket.IPPROTO_IPV6 and kind == getattr(socket, "IPV6_PKTINFO", None)
    )


def read_origin(message: ControlMessage) -> Origin:
    """Return where the datagram was sent to."""
    level, _, data = message
    if level == socket.IPPROTO_IP:
        interface, _, address = _V4.unpack(data[: _V4.size])
        return Origin(socket.inet_ntop(socket.AF_INET, address), interface)
    address, interface = _V6.unpack(data[: _V6.size])
    return Origin(socket.inet_ntop(socket.AF_INET6, address), interface)


def answer_to(message: ControlMessage) -> tuple[ControlMessage, ...]:
    """Return the control messages of a reply, so that it leaves from the address that its request was sent
    to: rules 1 and 2.
    """
    level, kind, data = message
    if level == socket.IPPROTO_IP:
        _, ours, _ = _V4.unpack(data[: _V4.size])
        return ((level, kind, _V4.pack(0, ours, bytes(4))),)
    address, interface = _V6.unpack(data[: _V6.size])
    if address[0] == 0xFF:  # multicast, RFC 4291, 2.7
        return ()
    link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80  # fe80::/10, RFC 4291, 2.5.6
    return ((level, kind, _V6.pack(address, interface if link_local else 0)),)


def read_overflow(level: int, kind: int, data: bytes) -> int | None:
    """Return how many datagrams the kernel had dropped when it queued this one (socket(7): SO_RXQ_OVFL), if
    it says.
    """
    if level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL:
        count: int = _U32.unpack(data[:4])[0]
        return count
    return None


def count_overflow(sock: socket.socket) -> int | None:
    """Return how many datagrams the kernel has dropped by now: also those after the last that it delivered.
    None if unknown.
    """
    if _SO_MEMINFO is None:
        return None
    try:
        memory = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * (_MEMINFO_DROPS + 1))
    except OSError:
        return None
    if len(memory) < 4 * (_MEMINFO_DROPS + 1):
        return None
    drops: int = _U32.unpack_from(memory, 4 * _MEMINFO_DROPS)[0]
    return drops
