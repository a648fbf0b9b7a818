"""Addresses as values: parsed from and printed as ``tcp://``, ``udp://`` and ``unix://`` URLs. No input or
output here.

Rules of this file:

1. An address is frozen, hashable and equal to every other with the same fields; ``parse(str(address)) ==
   address``.
2. Nothing is resolved: a host stays the text that it was given as, and the kernel's own answers arrive by
   `from_sockaddr`.
3. A Unix socket without a name (a client that never bound, see unix(7)) is a value too: `UnixAddress("")`.
"""

from __future__ import annotations

import os
import socket
from typing import Any, TypeAlias, final
from urllib.parse import quote, unquote, urlsplit

import attrs

MAX_PORT = 65535
#: sockaddr_un.sun_path has 108 bytes, one of them the closing zero (unix(7)).
MAX_UNIX_PATH = 107


def check_port(port: object, *, argument: str = "port") -> int:
    """Return `port` if it is an int from 0 to 65535; TypeError or ValueError, which name `argument`,
    otherwise.
    """
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"{argument} must be an int from 0 to {MAX_PORT}, not {port!r}")
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"{argument} must be from 0 to {MAX_PORT} (0: any free one), not {port}")
    return port


def _check_host(instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"host must be a str, not {value!r}")


def _check_port_field(instance: object, attribute: attrs.Attribute[int], value: object) -> None:
    check_port(value)


@attrs.frozen
class _IPAddress:
    """What TCP and UDP addresses have in common."""

    host: str = attrs.field(validator=_check_host)
    port: int = attrs.field(validator=_check_port_field)
    #: The interface of a link-local IPv6 address (RFC 4007), 0 for all others.
    scope_id: int = 0

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET6 if the host is written as an IPv6 address, AF_INET otherwise."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def sockaddr(self) -> tuple[Any, ...]:
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

    path: str = attrs.field(converter=os.fsdecode)

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
        if self.is_abstract:
            return f"unix://@{quote(self.path[1:])}"
        return f"unix://{quote(self.path)}"


@final
@attrs.frozen
class MemoryAddress:
    """The address of a listener or client that lives in this process only. Prints as ``memory://name``."""

    name: str

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


def parse(text: str) -> Address:
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
        return _parse_ip(text, TcpAddress if scheme == "tcp" else UdpAddress)
    raise ValueError(f"{text!r} must begin with tcp://, udp:// or unix://")


def _parse_unix(text: str, rest: str) -> UnixAddress:
    if not rest:
        raise ValueError(
            f"{text!r} names no path: write unix:///run/app.sock, or unix://@name for an abstract name"
        )
    return UnixAddress("\0" + unquote(rest[1:]) if rest.startswith("@") else unquote(rest))


def _parse_ip(text: str, make: type[TcpAddress] | type[UdpAddress]) -> TcpAddress | UdpAddress:
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"{text!r}: the port must be from 0 to {MAX_PORT}") from None
    if not parts.hostname or port is None or parts.path or parts.query or parts.username is not None:
        raise ValueError(f"{text!r} must be {parts.scheme}://host:port, an IPv6 host in brackets")
    host, _, zone = parts.hostname.partition("%25")
    if zone and not zone.isdigit():
        raise ValueError(f"{text!r}: the zone of an IPv6 address must be an interface's number, not {zone!r}")
    return make(host, port, int(zone or 0))
