"""Opening datagram sockets: UDP with one port for both families, multicast and broadcast, and Unix sockets.

Rules of this file:

1. An opener returns bound sockets, or raises and leaves nothing open.
2. A port is never shared by accident: SO_REUSEADDR, which for UDP lets others take the port over or listen
   along (socket(7)), is not set. A program that wants to share sets `reuse_port`.
3. A socket gets what it asked for: one that joined a multicast group hears that group, and none that other
   programs of this machine have joined (ip(7): IP_MULTICAST_ALL, whose default is the opposite).
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple

from ..listeners.bind import check_in_trio, open_on_one_port, set_common_options
from ..listeners.unix import bind_unix, check_mode, check_path
from ..model.addresses import SockAddr
from ..model.checks import check_int
from ..model.options import explained
from .socket import KernelSocket, UnixSocket

_IP_MULTICAST_ALL: Final = 49  # linux/in.h
_IPV6_MULTICAST_ALL: Final = 29  # linux/in6.h
#: struct ip_mreqn: group, local address, interface. struct ipv6_mreq: group, interface.
_MREQN: Final = struct.Struct("=4s4si")
_MREQ6: Final = struct.Struct("=16sI")


class _Group(NamedTuple):
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    interface: int


@explained
async def open_udp_sockets(
    port: int,
    *,
    host: str | bytes | None = None,
    reuse_port: bool = False,
    max_bytes: int | None = None,
    receive_buffer: int | None = None,
    groups: Iterable[str] = (),
    broadcast: bool = False,
) -> list[KernelSocket]:
    """Open UDP sockets.

    Args:
      port: from 0 to 65535; 0 is any free one, the same for all addresses that `host` stands for.
      host: a name or address; None is every address of this machine, with a socket for each family.
      reuse_port: let other sockets of this user have the same port; the kernel spreads the peers (socket(7)),
        and gives each of them what is sent to a multicast group.
      max_bytes: how much of a datagram is received, from 1 on; what is longer is cut, with
        `Datagram.truncated` set. None is 65,527, the longest there is.
      receive_buffer: the kernel's queue in bytes (SO_RCVBUF, socket(7)), from 1 to net.core.rmem_max; None
        leaves it as it is.
      groups: multicast groups to join, IPv4 or IPv6, each with the interface if it matters:
        ``"239.1.2.3"``, ``"ff02::fb%eth0"``, ``"ff02::fb%2"``.
      broadcast: allow replies to broadcast addresses (SO_BROADCAST); receiving needs no permission.

    Returns: the sockets, at least one.

    Raises: TypeError, ValueError; OSError (socket.gaierror) if `host` cannot be resolved, or a group cannot
    be joined; AddressUnavailable if an address is in use, not this machine's, or not allowed.

    Cancellation: a checkpoint; cancelled, nothing is left open.
    """
    check_in_trio("open_udp_sockets()")
    check_size(max_bytes, "max_bytes")
    check_size(receive_buffer, "receive_buffer")
    wanted = _parse_groups(groups)

    bind = functools.partial(_bind, reuse_port, broadcast, receive_buffer)
    bound = await open_on_one_port(port, host, socket.SOCK_DGRAM, bind)
    try:
        for group in wanted:
            _join(group, bound)
        return [KernelSocket(sock, max_bytes) for sock in bound]
    except BaseException:
        for sock in bound:
            sock.close()
        raise


def _bind(
    reuse_port: bool, broadcast: bool, receive_buffer: int | None, family: int, sockaddr: SockAddr
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        set_common_options(sock, reuse_port=reuse_port)
        if broadcast and family == socket.AF_INET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind(sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


@explained
def open_unix_datagram_socket(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    mode: int | None = None,
    max_bytes: int | None = None,
) -> UnixSocket:
    """Open a Unix datagram socket.

    Args:
      path: of the socket file; on Linux one that begins with a zero byte is a name without a file (unix(7)).
      mode: permissions of the file, set before a client can send to it; None leaves them to the umask.
      max_bytes: how much of a datagram is received, from 1 on; what is longer is cut, with
        `Datagram.truncated` set. None is 262,144, more than Linux allows to send by default.

    Returns: the socket. Closing it removes the file, if it is still the one that was made here.

    Raises: TypeError, ValueError; AddressUnavailable if a process has the socket at the path open, something
    other than a socket is there, or the system refuses.
    """
    check_size(max_bytes, "max_bytes")
    check_path(path)
    check_mode(mode)
    sock, file = bind_unix(path, socket.SOCK_DGRAM, mode)
    try:
        return UnixSocket(sock, file, max_bytes)
    except BaseException:
        if file is not None:
            file.remove()
        sock.close()
        raise


def check_size(value: object, argument: str) -> None:
    """Raise TypeError or ValueError, which name `argument`, unless `value` is None or an int from 1 on."""
    if value is not None:
        check_int(value, argument, besides=", or None")


# Multicast


def _parse_groups(groups: object) -> list[_Group]:
    if isinstance(groups, (str, bytes)) or not isinstance(groups, Iterable):
        raise TypeError(f"groups must be several multicast addresses, such as ['239.1.2.3'], not {groups!r}")
    return [_parse_group(group) for group in groups]


def _parse_group(text: object) -> _Group:
    if not isinstance(text, str):
        raise TypeError(
            f"a multicast group must be a str such as '239.1.2.3' or 'ff02::fb%eth0', not {text!r}"
        )
    host, percent, zone = text.partition("%")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r} is no multicast group: write an address, not a name") from None
    if not address.is_multicast:
        raise ValueError(f"{text!r} is no multicast group: they begin with 224 to 239, or ff")
    return _Group(address, _interface(zone, text) if percent else 0)


def _interface(zone: str, text: str) -> int:
    if zone.isdigit():
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        known = ", ".join(name for _, name in socket.if_nameindex())
        raise ValueError(f"{text!r}: there is no interface {zone!r}; there are: {known}") from None


def _join(group: _Group, bound: list[socket.socket]) -> None:
    four = group.address.version == 4
    family = socket.AF_INET if four else socket.AF_INET6
    matching = [sock for sock in bound if sock.family == family]
    if not matching:
        raise ValueError(
            f"no socket is IPv{group.address.version}, as the group {group.address} needs: change host"
        )
    packed = group.address.packed
    for sock in matching:
        _disable_multicast_all(sock)
        try:
            if four:
                membership = _MREQN.pack(packed, bytes(4), group.interface)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            else:
                membership = _MREQ6.pack(packed, group.interface)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        except OSError as error:
            advice = (
                "does that interface do multicast?" if group.interface else "name the interface: 'group%eth0'"
            )
            raise OSError(
                error.errno, f"cannot join the multicast group {group.address}: {error.strerror}; {advice}"
            ) from error


def _disable_multicast_all(sock: socket.socket) -> None:
    if sys.platform != "linux":
        return
    level, option = socket.IPPROTO_IP, _IP_MULTICAST_ALL
    if sock.family == socket.AF_INET6:
        level, option = socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL
    # IPV6_MULTICAST_ALL is as young as Linux 4.20; without it the socket receives other groups, too.
    with contextlib.suppress(OSError):
        sock.setsockopt(level, option, 0)
