"""The invariant: what `build_header` writes is what the parser reads, and a header that exists is a valid
one.
"""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triosock._core.model.addresses import Address, MemoryAddress, TcpAddress, UdpAddress, UnixAddress
from triosock._core.protocols import proxy_header as ph
from triosock._core.protocols.proxy_header import ProxyHeader, build_header, crc32c
from triosock._core.protocols.proxy_parser import parse_header

SOURCE = TcpAddress("192.0.2.1", 56324)
DESTINATION = TcpAddress("198.51.100.7", 443)
SIX = TcpAddress("2001:db8::1", 56324), TcpAddress("2001:db8::2", 443)

ports = st.integers(0, 65535)
hosts4 = st.ip_addresses(v=4).map(str)
# A dotted tail is written differently by different Pythons, and comes back as the kernel writes it.
hosts6 = st.ip_addresses(v=6).filter(lambda ip: int(ip) >> 48).map(str)
paths = st.binary(min_size=1, max_size=107).filter(lambda raw: b"\0" not in raw)
unix = st.one_of(paths, paths.map(lambda raw: b"\0" + raw), st.just(b"")).map(UnixAddress)


def pairs(make: Any) -> st.SearchStrategy[tuple[Address, Address]]:
    four = st.builds(make, hosts4, ports)
    six = st.builds(make, hosts6, ports)
    return st.tuples(four, four) | st.tuples(six, six)


tlvs = st.lists(
    st.tuples(
        st.integers(0, 255).filter(lambda kind: kind not in (0x03, 0x05, 0x20)), st.binary(max_size=300)
    ),
    max_size=5,
).map(tuple)
headers_v1 = st.just(ProxyHeader(version=1)) | pairs(TcpAddress).map(
    lambda pair: ProxyHeader(version=1, source=pair[0], destination=pair[1])
)
headers_v2 = st.sampled_from([ProxyHeader(), ProxyHeader(command="LOCAL")]) | st.builds(
    lambda pair, tlvs: ProxyHeader(source=pair[0], destination=pair[1], tlvs=tlvs),
    pairs(TcpAddress) | pairs(UdpAddress) | st.tuples(unix, unix),
    tlvs,
)
headers = headers_v1 | headers_v2


@given(headers)
def test_what_is_built_is_parsed_as_the_same_header(header: ProxyHeader) -> None:
    assert parse_header(build_header(header)) == header


@given(headers_v2.filter(lambda header: header.source is not None))
def test_a_checksum_is_added_last_and_is_accepted(header: ProxyHeader) -> None:
    parsed = parse_header(build_header(header, checksum=True))
    assert parsed.tlvs[:-1] == header.tlvs
    assert parsed.tlvs[-1][0] == ph.TLV_CRC32C


def test_a_checksum_that_is_there_is_calculated_anew_in_its_place() -> None:
    header = ProxyHeader(
        source=SOURCE, destination=DESTINATION, tlvs=[(ph.TLV_CRC32C, b"old!"), (ph.TLV_NOOP, b"")]
    )
    parsed = parse_header(build_header(header, checksum=True))
    assert [kind for kind, _ in parsed.tlvs] == [ph.TLV_CRC32C, ph.TLV_NOOP]
    assert parsed.tlvs[0][1] != b"old!"


def test_crc32c_gives_the_check_value_of_the_castagnoli_polynomial() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of every catalogue of CRCs
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_version_1_is_the_line_that_the_specification_shows() -> None:
    header = ProxyHeader(
        version=1, source=TcpAddress("192.168.0.1", 56324), destination=TcpAddress("192.168.0.11", 443)
    )
    assert build_header(header) == b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    assert build_header(ProxyHeader(version=1)) == b"PROXY UNKNOWN\r\n"
    six = ProxyHeader(version=1, source=TcpAddress("2001:DB8:0::1", 1), destination=SIX[1])
    assert build_header(six) == b"PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n"


def test_version_2_is_the_layout_that_the_specification_shows() -> None:
    header = ProxyHeader(source=SOURCE, destination=DESTINATION, tlvs=[(ph.TLV_ALPN, b"h2")])
    assert build_header(header) == (
        b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"  # signature
        b"\x21\x11\x00\x11"  # version 2, PROXY; IPv4, stream; 17 bytes follow
        b"\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"
        b"\x01\x00\x02h2"
    )
    assert build_header(ProxyHeader(command="LOCAL"))[12:] == b"\x20\x00\x00\x00"
    assert build_header(ProxyHeader())[12:] == b"\x21\x00\x00\x00"


def test_a_unix_path_is_filled_up_with_zero_bytes() -> None:
    built = build_header(ProxyHeader(source=UnixAddress("/run/a"), destination=UnixAddress("\0b")))
    assert built[12:16] == b"\x21\x31\x00\xd8"
    assert built[16:124] == b"/run/a" + bytes(102)
    assert built[124:] == b"\0b" + bytes(106)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"version": 3}, ValueError, "version must be 1 or 2"),
        ({"command": "proxy"}, ValueError, "command must be 'PROXY' or 'LOCAL'"),
        ({"version": 1, "command": "LOCAL"}, ValueError, "command 'LOCAL' needs version 2"),
        ({"source": SOURCE}, ValueError, "source and destination must be two addresses"),
        ({"destination": SOURCE}, ValueError, "source and destination must be two addresses"),
        ({"source": SOURCE, "destination": SIX[0]}, ValueError, "source and destination"),
        ({"source": SOURCE, "destination": UdpAddress("192.0.2.1", 1)}, ValueError, "source and destination"),
        ({"source": "192.0.2.1", "destination": "192.0.2.2"}, ValueError, "source and destination"),
        (
            {"source": MemoryAddress("a"), "destination": MemoryAddress("b")},
            ValueError,
            "source and destination",
        ),
        (
            {"command": "LOCAL", "source": SOURCE, "destination": DESTINATION},
            ValueError,
            "command 'LOCAL' goes without",
        ),
        ({"tlvs": [(1, b"")]}, ValueError, "tlvs need source"),
        ({"tlvs": 5}, TypeError, "tlvs must be pairs"),
        ({"tlvs": b"ab"}, TypeError, "tlvs must be pairs"),
        ({"tlvs": [(256, b"")]}, TypeError, "tlvs must be pairs"),
        ({"tlvs": [(1, "h2")]}, TypeError, "tlvs must be pairs"),
        (
            {"version": 1, "source": UnixAddress("/a"), "destination": UnixAddress("/b")},
            ValueError,
            "version 1",
        ),
        (
            {"version": 1, "source": SOURCE, "destination": DESTINATION, "tlvs": [(1, b"")]},
            ValueError,
            "version 1",
        ),
    ],
)
def test_a_header_that_cannot_be_sent_cannot_be_made(fields: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        ProxyHeader(**fields)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([(ph.TLV_CRC32C, b"123")], "checksum"),
        ([(ph.TLV_CRC32C, b"1234")] * 2, "checksum"),
        ([(ph.TLV_UNIQUE_ID, bytes(129))], "128"),
        ([(ph.TLV_TLS, b"1234")], "0x20"),
        ([(ph.TLV_TLS, b"\1\0\0\0\0\x21\0\x05TLS")], "0x21"),
    ],
)
def test_a_malformed_tlv_is_a_value_error_that_names_tlvs_or_its_number(bad: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ProxyHeader(source=SOURCE, destination=DESTINATION, tlvs=bad)


def test_what_only_the_builder_can_see_is_a_value_error_that_names_the_field() -> None:
    name = TcpAddress("localhost", 1)
    with pytest.raises(ValueError, match="source must have an IP address as its host, not 'localhost'"):
        build_header(ProxyHeader(source=name, destination=DESTINATION))
    with pytest.raises(ValueError, match="destination must have an IP address"):
        build_header(ProxyHeader(version=1, source=SOURCE, destination=name))
    with pytest.raises(ValueError, match="destination must have a path of at most 108 bytes, not 109"):
        build_header(ProxyHeader(source=UnixAddress("/a"), destination=UnixAddress("/" + 108 * "b")))
    with pytest.raises(ValueError, match="checksum needs version 2"):
        build_header(ProxyHeader(version=1), checksum=True)
    for size in (4082, 100_000):
        with pytest.raises(ValueError, match="tlvs must fit into 4096 bytes"):
            build_header(
                ProxyHeader(source=SOURCE, destination=DESTINATION, tlvs=[(ph.TLV_NOOP, bytes(size))])
            )
    build_header(ProxyHeader(source=SOURCE, destination=DESTINATION, tlvs=[(ph.TLV_NOOP, bytes(4081))]))


def test_the_known_tlvs_have_names_and_types() -> None:
    bare = ProxyHeader()
    assert (bare.alpn, bare.authority, bare.unique_id, bare.netns, bare.tls) == (None,) * 5
    header = ProxyHeader(
        source=SOURCE,
        destination=DESTINATION,
        tlvs=[
            (ph.TLV_ALPN, b"h2"),
            (ph.TLV_AUTHORITY, "bücher.example".encode()),
            (ph.TLV_UNIQUE_ID, b"\xff\x00"),
            (ph.TLV_NETNS, b"blue"),
            (0xE1, b"own"),
            (0xE1, b"second"),
        ],
    )
    assert header.alpn == b"h2"
    assert header.authority == "bücher.example"
    assert header.unique_id == b"\xff\x00"
    assert header.netns == "blue"
    assert header.get(0xE1) == b"own"
    assert header.get(0xE2) is None


def test_text_that_is_no_utf_8_keeps_its_bytes() -> None:
    header = ProxyHeader(source=SOURCE, destination=DESTINATION, tlvs=[(ph.TLV_AUTHORITY, b"caf\xe9")])
    assert header.authority is not None
    assert header.authority.encode("utf-8", "surrogateescape") == b"caf\xe9"


def tls_header(flags: int, verify: int, parts: bytes = b"") -> ProxyHeader:
    value = bytes([flags]) + verify.to_bytes(4, "big") + parts
    return ProxyHeader(source=SOURCE, destination=DESTINATION, tlvs=[(ph.TLV_TLS, value)])


def test_the_tls_of_the_client_is_told_part_by_part() -> None:
    parts = b"\x21\0\x07TLSv1.3\x22\0\x03bob\x23\0\x03AES\x24\0\x06SHA256\x25\0\x07RSA2048\x99\0\0"
    assert tls_header(0x03, 0, parts).tls == ph.ProxyTls(
        used=True,
        certificate=True,
        verified=True,
        version="TLSv1.3",
        common_name="bob",
        cipher="AES",
        signature_algorithm="SHA256",
        key_algorithm="RSA2048",
    )
    assert tls_header(0, 0).tls == ph.ProxyTls(used=False, certificate=False, verified=False)


@pytest.mark.parametrize(
    ("flags", "verify", "certificate", "verified"),
    [
        (0x01, 0, False, False),
        (0x03, 0, True, True),
        (0x05, 0, True, True),
        (0x03, 18, True, False),
        (0x01, 1, False, False),
    ],
)
def test_verified_means_that_there_was_a_certificate_and_that_it_was_good(
    flags: int, verify: int, certificate: bool, verified: bool
) -> None:
    tls = tls_header(flags, verify).tls
    assert tls is not None
    assert (tls.certificate, tls.verified) == (certificate, verified)


def test_headers_are_frozen_values() -> None:
    header = ProxyHeader(source=SOURCE, destination=DESTINATION)
    assert {header} == {attrs.evolve(header)}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        header.source = None  # type: ignore[misc]
