"""The PROXY protocol, versions 1 and 2: a proxy sends the address of the client before its first byte.

Section numbers are those of HAProxy's proxy-protocol.txt. Rules of this file:

1. **Not one byte beyond the header is read.** The bytes after it belong to TLS or to the handler. So
   `missing()` returns, for any beginning of a header, the number of further bytes that are certainly part of
   it, and no more than that is received at once.
2. **Whether a header is expected is configured, never guessed** (section 2). It is never optional: a peer
   that may choose whether to send a header may choose its own address.
3. **A header is used only if it comes from a trusted peer**; `ProxyPolicy.untrusted` says what happens to
   other peers.
4. **A wrong header is refused as soon as it must be wrong**, by a ProxyHeaderError, and never interpreted in
   part.
"""

from __future__ import annotations

import ipaddress
import math
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Literal, TypeAlias, final

import attrs

from ..model.addresses import Address, MemoryAddress, TcpAddress, UdpAddress, UnixAddress
from ..model.checks import check_several, count, one_of
from ..model.errors import ProxyHeaderError
from .proxy_header import (
    ADDRESSES_SIZE,
    DGRAM,
    INET,
    LOCAL,
    MAX_V2_BLOCK,
    PROXY,
    SIGNATURE,
    STREAM,
    UNIX,
    UNIX_SIZE,
    V2_HEAD,
    check_crc,
    split_tlvs,
)
from .proxy_header import ProxyHeader as ProxyHeader

#: Returns at most so many bytes of the stream, at least one, or b"" at its end.
Receive: TypeAlias = Callable[[int], Awaitable[bytes]]

#: The longest line of version 1, its CRLF included: the "worst case" of section 2.1.
MAX_V1: Final = 107
_INTRODUCTIONS: Final = (SIGNATURE, b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN ", b"PROXY UNKNOWN\r\n")
_SHORTEST: Final = len(b"PROXY UNKNOWN\r\n")
#: The fewest bytes that the words of a line can have: "PROXY", "TCP4", two addresses (0.0.0.0 or ::), two
#: ports.
_FEWEST: Final = {b"TCP4": (5, 4, 7, 7, 1, 1), b"TCP6": (5, 4, 2, 2, 1, 1)}
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")

# Whom to believe

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _to_names(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(check_several(value, "trusted must be several networks, such as ['10.0.0.0/8', 'unix']"))


def _to_network(name: object) -> _Network:
    if not isinstance(name, str):
        raise TypeError(f"trusted must have networks as str, such as '10.0.0.0/8', not {name!r}")
    try:
        return ipaddress.ip_network(name)
    except ValueError as error:
        raise ValueError(
            f"trusted must have networks such as '10.0.0.0/8' or '::1/128', or 'unix', not {name!r}: {error}"
        ) from None


def _networks_of(policy: ProxyPolicy) -> tuple[_Network, ...]:
    return tuple(_to_network(name) for name in policy.trusted if name != "unix")


@final
@attrs.frozen(kw_only=True)
class ProxyPolicy:
    """The peers that must send a PROXY header, and the ones that are trusted.

    `trusted`
        Networks ("10.0.0.0/8", "fd00::/8", one address), and "unix" for all peers of a Unix socket. These
        peers must send a header, and it is used. The default is this machine. Peers within this process
        (memory streams) are always trusted.
    `untrusted`
        What happens to all other peers: ``"refuse"`` closes the connection (go-proxyproto's REJECT, and what
        "MUST NOT guess" requires on a port that only proxies should reach); ``"ignore"`` requires a header
        from them too, and does not use it (IGNORE); ``"direct"`` serves them under their own address, and
        leaves every byte to the handler (SKIP). Its USE, an optional header, is not offered: see the rules at
    the top. `max_connections_per_proxy`
        Connections of one proxy at once, from 1 on; further ones are refused. No limit by default, since a
        proxy has many clients: `Limits.max_connections_per_peer` and `max_connections_per_network` count
        these, by the address in the header. A connection of the proxy itself (a health check: LOCAL, UNKNOWN)
        counts only for the proxy.
    """

    trusted: tuple[str, ...] = attrs.field(default=("127.0.0.0/8", "::1/128", "unix"), converter=_to_names)
    untrusted: Literal["refuse", "ignore", "direct"] = attrs.field(
        default="refuse", validator=one_of("refuse", "ignore", "direct")
    )
    max_connections_per_proxy: float = attrs.field(default=math.inf, validator=count)
    _networks: tuple[_Network, ...] = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_networks_of, takes_self=True)
    )

    def trusts(self, peer: Address) -> bool:
        """Whether `peer` must send a header, and it is used."""
        if isinstance(peer, (UnixAddress, MemoryAddress)):
            return isinstance(peer, MemoryAddress) or "unix" in self.trusted
        try:
            address = ipaddress.ip_address(peer.host)
        except ValueError:
            return False
        # A socket for both families shows IPv4 peers as mapped addresses (RFC 4291, 2.5.5.2); they are meant
        # by IPv4 networks.
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)

    async def admit(self, peer: Address, receive: Receive) -> ProxyHeader | None:
        """Read the header of `peer`, if one is expected. The caller bounds the time (section 2: >= 3 s).

        Returns: the header; None if it is ignored, or none is expected. A checkpoint if it reads.

        Raises: ProxyHeaderError, also for a peer that is refused; what `receive` raises. Cancellation: what
        was read is lost, so that the connection can only be closed.
        """
        if self.trusts(peer):
            return await read_header(receive)
        if self.untrusted == "refuse":
            raise ProxyHeaderError(
                f"{peer} is no proxy that is trusted: add its network to ProxyPolicy(trusted=...)"
            )
        if self.untrusted == "ignore":
            await read_header(receive)
        return None


def check_proxy(value: object) -> ProxyPolicy | None:
    """Return the policy that `value` is; True is the default one, None and False are none. Raises:
    TypeError.
    """
    if value is None or value is False:
        return None
    if value is True:
        return ProxyPolicy()
    if not isinstance(value, ProxyPolicy):
        raise TypeError(f"proxy must be True, a ProxyPolicy or None, not {value!r}")
    return value


# Reading


async def read_header(receive: Receive) -> ProxyHeader:
    """Read one header, in whatever pieces it comes, and nothing behind it.

    Args: `receive(max_bytes)` returns some bytes, never more than so many, or b"" at the end of the stream.

    Raises: ProxyHeaderError as soon as there cannot be a valid one; what `receive` raises. Cancelled, what
    was read is lost: the connection can only be closed.
    """
    data = bytearray()
    while (wanted := missing(data)) > 0:
        piece = await receive(wanted)
        if not piece:
            raise ProxyHeaderError(f"the peer ended the stream after {len(data)} bytes of a PROXY header")
        data += piece
        del piece  # or the wait for more would keep it a second time
    return parse_header(bytes(data))


def parse_header(data: bytes) -> ProxyHeader:
    """Return the header that `data` is, from its first byte to its last. Raises: ProxyHeaderError."""
    rest = missing(data)
    if rest:
        what = "are missing from" if rest > 0 else "follow"
        raise ProxyHeaderError(f"{abs(rest)} bytes or more {what} the PROXY header")
    return _parse_v2(data) if data.startswith(SIGNATURE) else _parse_v1(data)


def parse_datagram(data: bytes) -> tuple[ProxyHeader, bytes]:
    """Return the header that a datagram begins with, and its payload, which may be empty.

    Each datagram has a header of its own, whole, in version 2; version 1 knows only TCP. Raises:
    ProxyHeaderError.
    """
    if not data.startswith(SIGNATURE):
        raise ProxyHeaderError(f"a PROXY header of version 2 was due in a datagram, not {data[:16]!r}")
    rest = missing(data)
    if rest > 0:
        raise ProxyHeaderError(f"the datagram ends {rest} bytes before its PROXY header does")
    size = len(data) + rest
    return _parse_v2(data[:size]), data[size:]


def missing(data: bytes | bytearray) -> int:
    """Return how many more bytes are sure to belong to the header that begins with `data`.

    0 if it is whole, and less if bytes follow that are not part of it. Raises: ProxyHeaderError if this is no
    header's beginning.
    """
    head = bytes(data[:16])
    if not any(head.startswith(known) or known.startswith(head) for known in _INTRODUCTIONS):
        raise ProxyHeaderError(f"a PROXY header was due, and the peer began with {head!r}")
    if head[:1] == SIGNATURE[:1]:
        return _missing_v2(data)
    return _SHORTEST - len(data) if len(data) < _SHORTEST else _missing_v1(bytes(data))


def _missing_v1(line: bytes) -> int:
    end = line.find(b"\r\n", 0, MAX_V1)
    if end >= 0:
        return end + 2 - len(line)
    if len(line) >= MAX_V1:
        raise ProxyHeaderError(f"a PROXY header of version 1 has at most {MAX_V1} bytes: {line[:MAX_V1]!r}")
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        fewest = 2
    elif b"\n" in line or b"\r" in line[:-1] or len(words) > 6:
        raise _malformed(line)
    else:
        this, *later = _FEWEST[words[1]][len(words) - 1 :]
        fewest = max(0, this - len(words[-1])) + sum(1 + least for least in later) + 2
    return min(fewest - line.endswith(b"\r"), MAX_V1 - len(line))


def _missing_v2(data: bytes | bytearray) -> int:
    length: int
    if len(data) < V2_HEAD.size:
        return V2_HEAD.size - len(data)
    _, command, kind, length = V2_HEAD.unpack_from(data)
    if command not in (LOCAL, PROXY):
        raise ProxyHeaderError(f"unknown version or command in a PROXY header: {command:#04x}")
    if command == PROXY:
        family, transport = divmod(kind, 16)
        if family not in ADDRESSES_SIZE or transport > DGRAM:
            raise ProxyHeaderError(f"unknown address family or transport in a PROXY header: {kind:#04x}")
        if transport and length < ADDRESSES_SIZE[family]:
            raise ProxyHeaderError(f"a PROXY header has {length} bytes, too few for addresses ({kind:#04x})")
    if length > MAX_V2_BLOCK:
        raise ProxyHeaderError(f"a PROXY header of {length} bytes, more than {MAX_V2_BLOCK}, is not read")
    return V2_HEAD.size + length - len(data)


def _malformed(line: bytes) -> ProxyHeaderError:
    return ProxyHeaderError(f"malformed PROXY header of version 1: {line!r}")


def _parse_v1(line: bytes) -> ProxyHeader:
    words = line[:-2].split(b" ")
    if words[1] == b"UNKNOWN":
        return ProxyHeader(version=1)
    if len(words) != 6 or not all(_PORT.fullmatch(port) and int(port) <= 65535 for port in words[4:]):
        raise _malformed(line)
    wanted = ipaddress.IPv4Address if words[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        source, destination = (_canonical(wanted(word.decode("ascii"))) for word in words[2:4])
    except ValueError:
        raise _malformed(line) from None
    return ProxyHeader(
        version=1,
        source=TcpAddress(source, int(words[4])),
        destination=TcpAddress(destination, int(words[5])),
    )


def _canonical(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if address.version == 6 and address.scope_id is not None:
        raise ValueError("a zone means nothing on another machine")
    # As the kernel writes addresses; ipaddress writes mapped ones in another way before Python 3.13.
    return socket.inet_ntop(socket.AF_INET if address.version == 4 else socket.AF_INET6, address.packed)


def _parse_v2(data: bytes) -> ProxyHeader:
    _, command, kind, _ = V2_HEAD.unpack_from(data)
    family, transport = divmod(kind, 16)
    if command == LOCAL:
        return ProxyHeader(command="LOCAL")
    if not family or not transport:
        return ProxyHeader()  # where in such a block TLVs would begin is not defined
    end = V2_HEAD.size + ADDRESSES_SIZE[family]
    try:
        source, destination = _addresses(family, transport, data[V2_HEAD.size : end])
        header = ProxyHeader(source=source, destination=destination, tlvs=tuple(split_tlvs(data[end:])))
        check_crc(data, end, header)
    except ValueError as error:
        raise ProxyHeaderError(f"malformed PROXY header of version 2: {error}") from error
    return header


def _addresses(family: int, transport: int, block: bytes) -> tuple[Address, Address]:
    if family == UNIX:
        return _unix(block[:UNIX_SIZE]), _unix(block[UNIX_SIZE:])
    make = TcpAddress if transport == STREAM else UdpAddress
    own, size = (socket.AF_INET, 4) if family == INET else (socket.AF_INET6, 16)
    ports = struct.unpack_from("!HH", block, 2 * size)
    source, destination = (socket.inet_ntop(own, block[at : at + size]) for at in (0, size))
    return make(source, ports[0]), make(destination, ports[1])


def _unix(field: bytes) -> UnixAddress:
    if field.startswith(b"\0"):
        return UnixAddress(field.rstrip(b"\0"))
    return UnixAddress(field.partition(b"\0")[0])
