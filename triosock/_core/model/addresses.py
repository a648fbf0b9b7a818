"""Addresses as values: parsed from and printed as ``tcp://``, ``udp://`` and ``unix://`` URLs. No input or
output here.

Rules of this file:

1. An address is frozen, hashable and equal to every other with the same fields; ``parse_address(str(address))
   == address`` for every one that can be listened on or connected to from elsewhere.
2. Nothing is resolved: a host stays the text that it was given as, and the kernel's own answers arrive by
   `from_sockaddr`.
3. A Unix socket without a name (a client that never bound, see unix(7)) is a value too: `UnixAddress("")`.
"""

from __future__ import annotations

import os
import re
import socket
from typing import Any, Final, TypeAlias, final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import attrs

from .checks import T, check_int

#: An address of IPv4 or IPv6, as the functions of the socket module have it.
SockAddr: TypeAlias = tuple[str, int] | tuple[str, int, int, int]

MAX_PORT = 65535
#: sockaddr_un.sun_path has 108 bytes, one of them the closing zero (unix(7)).
MAX_UNIX_PATH = 107
_MAX_SCOPE_ID: Final = 2**32 - 1  # sin6_scope_id, ipv6(7)
#: An IPv6 address has a colon, and nothing else has; what URLs give a meaning to is in neither.
_HOST: Final = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*|[^\s\x00-\x1f\x7f:/?#@%\[\]\\]+")
_AUTHORITY: Final = re.compile(r"(?:\[([^\[\]%]*:[^\[\]%]*)(?:%25([^\]]*))?\]|([^:\[\]]+)):([0-9]{1,9})")


def check_port(port: object, *, argument: str = "port") -> int:
    """Return `port` if it is an int from 0 to 65535; TypeError or ValueError, which name `argument`,
    otherwise.
    """
    if isinstance(port, tuple) and len(port) == 2:  # an address as the socket module has it
        raise TypeError(f"{argument} must be an int alone, not {port!r}: write {port[1]!r}, host={port[0]!r}")
    return check_int(port, argument, 0, MAX_PORT, besides=" (0: any free one)")


def _check_host(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    if not isinstance(value, str):
        raise TypeError(f"host must be a str, not {value!r}")
    if not _HOST.fullmatch(value):
        raise ValueError(
            f"host must be a name or an IP address, without brackets, port or zone, not {value!r}"
        )


def _check_port_field(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    check_port(value)


def _check_scope_id(instance: _IPAddress, attribute: attrs.Attribute[T], value: T) -> None:
    number = check_int(value, "scope_id", 0, _MAX_SCOPE_ID, besides=", the number of an interface")
    if number and ":" not in instance.host:
        raise ValueError(f"scope_id must be 0 unless host is IPv6, not {number}")


def _to_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    try:
        return os.fsdecode(path)
    except TypeError:
        raise TypeError(f"path must be a str, bytes or os.PathLike, not {path!r}") from None


def _check_name(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    if not isinstance(value, str):
        raise TypeError(f"name must be a str, not {value!r}")


@attrs.frozen
class _IPAddress:
    """What TCP and UDP addresses have in common."""

    host: str = attrs.field(validator=_check_host)
    port: int = attrs.field(validator=_check_port_field)
    #: The number of the interface of a link-local IPv6 address (RFC 4007), 0 for all others.
    scope_id: int = attrs.field(default=0, validator=_check_scope_id)

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET6 if the host is written as an IPv6 address, AF_INET otherwise."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def sockaddr(self) -> SockAddr:
        """The address as the functions of the socket module want it."""
        if self.family is socket.AF_INET6:
            return (self.host, self.port, 0, self.scope_id)
        return (self.host, self.port)

    def _authority(self) -> str:
        if ":" not in self.host:
            return f"{self.host}:{self.port}"
        zone = f"%25{self.scope_id}" if self.scope_id else ""  # RFC 6874 writes the percent sign as %25
        return f"[{self.host}{zone}]:{self.port}"


@final
@attrs.frozen
class TcpAddress(_IPAddress):
    """The address of a TCP socket: `host` (str), `port` (int, 0 to 65535), `scope_id`. Prints as
    ``tcp://host:port``.
    """

    def __str__(self) -> str:
        return f"tcp://{self._authority()}"


@final
@attrs.frozen
class UdpAddress(_IPAddress):
    """The address of a UDP socket: `host` (str), `port` (int, 0 to 65535), `scope_id`. Prints as
    ``udp://host:port``.
    """

    def __str__(self) -> str:
        return f"udp://{self._authority()}"


@final
@attrs.frozen
class UnixAddress:
    """The address of a Unix socket. Prints as ``unix:///path``, or ``unix://@name`` in Linux's abstract
    namespace.

    `path` is a str as `os.fsdecode` gives it; ``""`` for a socket without a name; it begins with a zero byte
    if the name is abstract (unix(7)).
    """

    path: str = attrs.field(converter=_to_path)

    @property
    def family(self) -> socket.AddressFamily:
        """Always AF_UNIX."""
        return socket.AF_UNIX

    @property
    def sockaddr(self) -> bytes:
        """The address as the functions of the socket module want it."""
        return os.fsencode(self.path)

    @property
    def is_abstract(self) -> bool:
        """Whether the name lives in Linux's abstract namespace, where no file stands for it."""
        return self.path.startswith("\0")

    def __str__(self) -> str:
        # Of the bytes, for a path need not be text in any encoding.
        raw = self.sockaddr
        return (
            f"unix://@{quote_from_bytes(raw[1:])}" if self.is_abstract else f"unix://{quote_from_bytes(raw)}"
        )


@final
@attrs.frozen
class MemoryAddress:
    """The address of a listener or client that lives in this process only. Prints as ``memory://name``."""

    name: str = attrs.field(validator=_check_name)

    def __str__(self) -> str:
        return f"memory://{self.name}"


Address: TypeAlias = TcpAddress | UdpAddress | UnixAddress | MemoryAddress


def from_sockaddr(family: int, kind: int, sockaddr: Any) -> Address:
    """Return what the kernel reported (`getsockname`, `accept`, `recvfrom`) as a value.

    Args: the socket's `family` and type, and the `sockaddr` in the socket module's form (None and "" are a
    Unix peer without a name).

    Raises: ValueError for a family other than AF_INET, AF_INET6 and AF_UNIX.
    """
    if family == getattr(socket, "AF_UNIX", None):
        return UnixAddress(sockaddr or "")
    make = UdpAddress if kind == socket.SOCK_DGRAM else TcpAddress
    if family == socket.AF_INET:
        return make(sockaddr[0], sockaddr[1])
    if family == socket.AF_INET6:
        # The kernel's text may carry a zone ("fe80::1%eth0"); the number beside it says the same.
        return make(sockaddr[0].partition("%")[0], sockaddr[1], sockaddr[3])
    raise ValueError(f"socket family {family} is none of AF_INET, AF_INET6, AF_UNIX")


def host_to_bind(address: TcpAddress | UdpAddress) -> str | None:
    """Return the `host` that the openers take for an address: None, which is every address of the machine,
    for ``*``; with the interface, if the address has one.
    """
    if address.host == "*":
        return None
    return f"{address.host}%{address.scope_id}" if address.scope_id else address.host


def parse_address(text: str) -> Address:
    """Return the address that `text` writes: ``tcp://host:port``, ``udp://host:port``, ``unix:///path``,
    ``unix://@name``.

    Raises: TypeError if `text` is not a str, ValueError with the reason if it is not an address.
    """
    if not isinstance(text, str):
        raise TypeError(f"an address must be a str such as 'tcp://127.0.0.1:9999', not {text!r}")
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "unix":
        return _parse_unix(text, rest)
    if separator and scheme in ("tcp", "udp"):
        return _parse_ip(text, rest, TcpAddress if scheme == "tcp" else UdpAddress)
    raise ValueError(f"{text!r} must begin with tcp://, udp:// or unix://")


def _parse_unix(text: str, rest: str) -> UnixAddress:
    path = unquote_to_bytes(rest.replace("@", "%00", 1) if rest.startswith("@") else rest)
    if path in (b"", b"\0"):
        raise ValueError(
            f"{text!r} names no path: write unix:///run/app.sock, or unix://@name for an abstract name"
        )
    return UnixAddress(path)


def _parse_ip(text: str, rest: str, make: type[TcpAddress] | type[UdpAddress]) -> TcpAddress | UdpAddress:
    # Not urllib's urlsplit: it drops tabs and line ends, and writes hosts in lower case.
    match = _AUTHORITY.fullmatch(rest)
    if match is None:
        raise ValueError(
            f"{text!r} must be like tcp://host:port or udp://host:port, an IPv6 host in brackets"
        )
    six, zone, host, port = match.groups()
    if zone is not None and not re.fullmatch("[0-9]{1,10}", zone):
        raise ValueError(f"{text!r}: the zone of an IPv6 address must be an interface's number, not {zone!r}")
    try:
        return make(six or host, int(port), int(zone or 0))
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
