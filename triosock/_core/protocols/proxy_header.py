"""A PROXY protocol header as a value, and the bytes of a header.

The text that counts is HAProxy's proxy-protocol.txt, with its revision of April 2026. Rules of this file:

1. A header that exists can be sent, short of hosts that are no IP addresses, paths too long, and TLVs beyond
   the limit: those only `build_header` sees.
2. A header without addresses (LOCAL, UNKNOWN, unspecified) leaves the real ones standing; whatever else it
   carries is skipped.
3. A checksum is right or not there: it is calculated when a header is built, and checked when one is parsed.
4. Errors here are ValueError or TypeError; the parser turns them into errors of the peer.
"""

from __future__ import annotations

import functools
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final, Literal, final

import attrs

from ..model.addresses import Address, TcpAddress, UdpAddress, UnixAddress
from ..model.checks import T, check_several, one_of

#: The longest block behind the 16 bytes of version 2: go-proxyproto's limit; the addresses take 216 of them
#: at most.
MAX_V2_BLOCK: Final = 4096
SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
#: Signature, version and command, address family and transport, length of the block that follows.
V2_HEAD: Final = struct.Struct("!12sBBH")
#: Version 2's numbers: version with command, address families, transports.
LOCAL, PROXY = 0x20, 0x21
INET, INET6, UNIX = 1, 2, 3
STREAM, DGRAM = 1, 2
#: The size of the two addresses and ports of each family (of none at all: 0), and of one Unix path, filled up
#: with zero bytes.
ADDRESSES_SIZE: Final = {0: 0, INET: 12, INET6: 36, UNIX: 216}
UNIX_SIZE: Final = 108
MAX_UNIQUE_ID: Final = 128

# What a header may carry besides addresses (section 2.2): the numbers that have a meaning. 0xE0 to 0xEF are
# the application's own.
TLV_ALPN: Final = 0x01
TLV_AUTHORITY: Final = 0x02
TLV_CRC32C: Final = 0x03
TLV_NOOP: Final = 0x04
TLV_UNIQUE_ID: Final = 0x05
TLV_TLS: Final = 0x20
TLV_NETNS: Final = 0x30
_TLS_VERSION, _TLS_COMMON_NAME, _TLS_CIPHER, _TLS_SIGNATURE, _TLS_KEY = range(0x21, 0x26)


@final
@attrs.frozen(kw_only=True)
class ProxyTls:
    """The TLS connection between client and proxy, as the proxy describes it.

    `used`: whether there was one. `certificate`: whether the client showed one, on this connection or earlier
    in its TLS session; `verified`: whether the proxy found it good (False without one). The rest is text, or
    None where the proxy says nothing.
    """

    used: bool
    certificate: bool
    verified: bool
    version: str | None = None
    cipher: str | None = None
    common_name: str | None = None
    signature_algorithm: str | None = None
    key_algorithm: str | None = None


def _to_tlvs(value: Iterable[tuple[int, bytes]]) -> tuple[tuple[int, bytes], ...]:
    return tuple(check_several(value, "tlvs must be pairs of a number and bytes"))


def _check_tlvs(
    instance: object, attribute: attrs.Attribute[T], value: tuple[tuple[int, bytes], ...]
) -> None:
    for item in value:
        match item:
            case (int(kind), bytes()) if 0 <= kind <= 255:
                continue
        raise TypeError(f"tlvs must be pairs of a number from 0 to 255 and bytes, not {item!r}")
    sums = [len(content) for kind, content in value if kind == TLV_CRC32C]
    if sums not in ([], [4]):
        raise ValueError("tlvs must have no more than one checksum, of 4 bytes")
    for kind, content in value:
        if kind == TLV_UNIQUE_ID and len(content) > MAX_UNIQUE_ID:
            raise ValueError(
                f"tlvs must have a unique id of at most {MAX_UNIQUE_ID} bytes, not {len(content)}"
            )
        if kind == TLV_TLS:
            _parse_tls(content)


@final
@attrs.frozen(kw_only=True)
class ProxyHeader:
    """The PROXY header of a connection.

    `version` (1 or 2); `command`: "PROXY", or "LOCAL" for a connection of the proxy's own, such as a health
    check; `source` and `destination`: the client's address and the one that it connected to, both or neither;
    `tlvs`: whatever else, as pairs of number and bytes, in order. Text is decoded as UTF-8 with surrogate
    escapes, so that nothing that a client chose can fail later on.
    """

    version: int = attrs.field(default=2, validator=one_of(1, 2))
    command: Literal["PROXY", "LOCAL"] = attrs.field(default="PROXY", validator=one_of("PROXY", "LOCAL"))
    source: Address | None = None
    destination: Address | None = None
    tlvs: tuple[tuple[int, bytes], ...] = attrs.field(default=(), converter=_to_tlvs, validator=_check_tlvs)

    def __attrs_post_init__(self) -> None:
        if self.version == 1 and self.command == "LOCAL":
            raise ValueError("command 'LOCAL' needs version 2")
        if self.source is None and self.destination is None:
            if self.tlvs:
                raise ValueError("tlvs need source and destination: without addresses a receiver skips them")
            return
        if self.command == "LOCAL":
            raise ValueError("command 'LOCAL' goes without source and destination")
        if not _are_alike(self.source, self.destination):
            both = f"{self.source!r} and {self.destination!r}"
            raise ValueError(
                f"source and destination must be two addresses of one kind and family, not {both}"
            )
        if self.version == 1 and (self.tlvs or not isinstance(self.source, TcpAddress)):
            raise ValueError("version 1 knows TCP addresses and nothing else: take version 2")

    def get(self, kind: int) -> bytes | None:
        """Return the value of the first TLV with this number, None if there is none."""
        return next((value for number, value in self.tlvs if number == kind), None)

    def _text(self, kind: int) -> str | None:
        value = self.get(kind)
        return None if value is None else _decode(value)

    @property
    def alpn(self) -> bytes | None:
        """The protocol that client and proxy agreed on by ALPN (RFC 7301), such as b"h2"."""
        return self.get(TLV_ALPN)

    @property
    def authority(self) -> str | None:
        """The host name that the client asked for: the server name (SNI) of its TLS handshake."""
        return self._text(TLV_AUTHORITY)

    @property
    def unique_id(self) -> bytes | None:
        """The identifier that the proxy gave to this connection, up to 128 bytes."""
        return self.get(TLV_UNIQUE_ID)

    @property
    def netns(self) -> str | None:
        """The network namespace that the proxy accepted the connection in."""
        return self._text(TLV_NETNS)

    @property
    def tls(self) -> ProxyTls | None:
        """The TLS connection between the client and the proxy; None if the header has nothing about it."""
        value = self.get(TLV_TLS)
        return None if value is None else _parse_tls(value)


def _are_alike(one: object, other: object) -> bool:
    if isinstance(one, (TcpAddress, UdpAddress, UnixAddress)) and isinstance(other, type(one)):
        return one.family is other.family
    return False


# TLVs


def split_tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and value of each TLV in `data`. Raises: ValueError if the last one is cut off."""
    while data:
        size = 3 + int.from_bytes(data[1:3], "big")
        if len(data) < max(3, size):
            raise ValueError(f"TLV {data[0]:#04x} is longer than what is left of the header")
        yield data[0], data[3:size]
        data = data[size:]


def _parse_tls(value: bytes) -> ProxyTls:
    if len(value) < 5:
        raise ValueError(f"TLV {TLV_TLS:#04x} must have at least 5 bytes, not {len(value)}")
    parts = {kind: _decode(text) for kind, text in split_tlvs(value[5:])}
    certificate = bool(value[0] & 0x06)
    return ProxyTls(
        used=bool(value[0] & 0x01),
        certificate=certificate,
        # A proxy that asked for no certificate says 0 too, for it found nothing wrong.
        verified=certificate and value[1:5] == bytes(4),
        version=parts.get(_TLS_VERSION),
        cipher=parts.get(_TLS_CIPHER),
        common_name=parts.get(_TLS_COMMON_NAME),
        signature_algorithm=parts.get(_TLS_SIGNATURE),
        key_algorithm=parts.get(_TLS_KEY),
    )


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


# Building


def build_header(header: ProxyHeader, *, checksum: bool = False) -> bytes:
    """Return the bytes of a header, which are sent before all others (in each datagram: before its payload).

    A CRC32C among the TLVs is calculated anew; `checksum` adds one if there is none. Raises: ValueError if a
    host is no IP address, a path or the whole does not fit, or version 1 shall have a checksum.
    """
    source, destination = header.source, header.destination
    if header.version == 1:
        return _build_v1(source, destination, checksum)
    if source is None or destination is None:
        return V2_HEAD.pack(SIGNATURE, LOCAL if header.command == "LOCAL" else PROXY, 0, 0)
    kind, addresses = _build_addresses(source, destination)
    tlvs = header.tlvs
    if checksum and header.get(TLV_CRC32C) is None:
        tlvs += ((TLV_CRC32C, bytes(4)),)
    size = len(addresses) + sum(3 + len(value) for _, value in tlvs)
    if size > MAX_V2_BLOCK:
        raise ValueError(f"tlvs must fit into {MAX_V2_BLOCK} bytes, addresses included, and need {size}")
    block = addresses + b"".join(struct.pack("!BH", number, len(value)) + value for number, value in tlvs)
    data = V2_HEAD.pack(SIGNATURE, PROXY, kind, size) + block
    place = _crc_place(V2_HEAD.size + len(addresses), tlvs)
    return data if place is None else data[:place] + _sum_without(data, place) + data[place + 4 :]


def _build_v1(source: Address | None, destination: Address | None, checksum: bool) -> bytes:
    if checksum:
        raise ValueError("checksum needs version 2")
    if not isinstance(source, TcpAddress) or not isinstance(destination, TcpAddress):
        return b"PROXY UNKNOWN\r\n"
    hosts = [
        socket.inet_ntop(address.family, _pack_host(address, argument))
        for address, argument in ((source, "source"), (destination, "destination"))
    ]
    word = "TCP6" if source.family is socket.AF_INET6 else "TCP4"
    return f"PROXY {word} {hosts[0]} {hosts[1]} {source.port} {destination.port}\r\n".encode("ascii")


def _build_addresses(source: Address, destination: Address) -> tuple[int, bytes]:
    """Return the byte for family and transport, and the addresses."""
    if isinstance(source, UnixAddress) and isinstance(destination, UnixAddress):
        paths = _pack_path(source, "source") + _pack_path(destination, "destination")
        return UNIX << 4 | STREAM, paths
    assert isinstance(source, (TcpAddress, UdpAddress))
    assert isinstance(destination, (TcpAddress, UdpAddress))
    family = INET6 if source.family is socket.AF_INET6 else INET
    hosts = _pack_host(source, "source") + _pack_host(destination, "destination")
    ports = struct.pack("!HH", source.port, destination.port)
    return family << 4 | (STREAM if isinstance(source, TcpAddress) else DGRAM), hosts + ports


def _pack_host(address: TcpAddress | UdpAddress, argument: str) -> bytes:
    try:
        return socket.inet_pton(address.family, address.host)
    except OSError:
        raise ValueError(f"{argument} must have an IP address as its host, not {address.host!r}") from None


def _pack_path(address: UnixAddress, argument: str) -> bytes:
    raw = address.sockaddr
    if len(raw) > UNIX_SIZE:
        raise ValueError(f"{argument} must have a path of at most {UNIX_SIZE} bytes, not {len(raw)}")
    return raw.ljust(UNIX_SIZE, b"\0")


# The checksum: CRC-32C (Castagnoli), RFC 4960, appendix B; zlib has another polynomial.


@functools.cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of `data`."""
    table = _crc_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _crc_place(begin: int, tlvs: tuple[tuple[int, bytes], ...]) -> int | None:
    """Return where the checksum stands in a header whose TLVs begin at `begin`; None if there is none."""
    for kind, value in tlvs:
        if kind == TLV_CRC32C:
            return begin + 3
        begin += 3 + len(value)
    return None


def _sum_without(data: bytes, place: int) -> bytes:
    return crc32c(data[:place] + bytes(4) + data[place + 4 :]).to_bytes(4, "big")


def check_crc(data: bytes, begin: int, header: ProxyHeader) -> None:
    """Raise ValueError if `header`, parsed from `data` with its TLVs beginning at `begin`, has a wrong
    checksum.
    """
    place = _crc_place(begin, header.tlvs)
    if place is not None and data[place : place + 4] != _sum_without(data, place):
        raise ValueError("its checksum is wrong")
