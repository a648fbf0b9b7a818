"""The invariant: in whatever pieces a header comes, what is read is the header, all of it, and not one byte
more.
"""

from __future__ import annotations

import contextlib
import re

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from triosock._core.model.addresses import TcpAddress, UdpAddress, UnixAddress
from triosock._core.model.errors import ProxyHeaderError
from triosock._core.protocols import proxy_parser
from triosock._core.protocols.proxy_header import (
    SIGNATURE,
    TLV_CRC32C,
    TLV_NOOP,
    TLV_TLS,
    TLV_UNIQUE_ID,
    build_header,
)
from triosock._core.protocols.proxy_parser import (
    ProxyHeader,
    missing,
    parse_datagram,
    parse_header,
)

from .test_proxy_header import headers, headers_v2

LINE = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
V4 = TcpAddress("192.0.2.1", 1)
V2 = build_header(ProxyHeader(source=TcpAddress("192.0.2.1", 1), destination=TcpAddress("192.0.2.2", 2)))


def v2(command: int, kind: int, block: bytes = b"", length: int | None = None) -> bytes:
    size = len(block) if length is None else length
    return SIGNATURE + bytes([command, kind]) + size.to_bytes(2, "big") + block


class Peer:
    """Sends `data` in pieces of these sizes, again and again, and then ends the stream. `taken`: how much was
    read.
    """

    def __init__(self, data: bytes, sizes: list[int] | None = None) -> None:
        self.data = data
        self.sizes = sizes or [len(data)]
        self.taken = 0
        self.calls = 0

    async def receive(self, max_bytes: int) -> bytes:
        assert max_bytes > 0
        await trio.lowlevel.checkpoint()
        size = min(max_bytes, self.sizes[self.calls % len(self.sizes)])
        self.calls += 1
        piece = self.data[self.taken : self.taken + size]
        self.taken += len(piece)
        return piece


def read(data: bytes, sizes: list[int] | None = None) -> tuple[ProxyHeader, Peer]:
    peer = Peer(data, sizes)
    return trio.run(proxy_parser.read_header, peer.receive), peer


def refused(data: bytes, words: str = "") -> Peer:
    peer = Peer(data, [1])
    with pytest.raises(ProxyHeaderError, match=re.escape(words)):
        trio.run(proxy_parser.read_header, peer.receive)
    return peer


@given(headers, st.lists(st.integers(1, 50), min_size=1, max_size=10), st.binary(max_size=50))
def test_in_any_pieces_the_header_is_read_and_not_one_byte_behind_it(
    header: ProxyHeader, sizes: list[int], behind: bytes
) -> None:
    built = build_header(header)
    got, peer = read(built + behind, sizes)
    assert got == header
    assert peer.taken == len(built)


@given(headers, st.data())
def test_an_end_of_the_stream_inside_is_an_error_that_says_where(
    header: ProxyHeader, data: st.DataObject
) -> None:
    cut = build_header(header)[: data.draw(st.integers(0, len(build_header(header)) - 1))]
    refused(cut, f"the peer ended the stream after {len(cut)} bytes of a PROXY header")


@given(headers)
def test_every_beginning_of_a_header_wants_more_but_never_more_than_there_is(header: ProxyHeader) -> None:
    built = build_header(header)
    for size in range(len(built)):
        assert 0 < missing(built[:size]) <= len(built) - size


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: SIGNATURE + tail))
@example(b"PROXY TCP4 \r\n")
@example(b"PROXY TCP6    \r\n\r\n")
def test_arbitrary_bytes_are_a_header_or_a_proxy_header_error(data: bytes) -> None:
    for parse in (parse_header, parse_datagram, missing):
        with contextlib.suppress(ProxyHeaderError):
            parse(data)


@given(st.text("PROXYTCP46UNKNOWN .:0123456789abcdef\r\n", max_size=110))
def test_lines_that_resemble_a_header_are_one_or_a_proxy_header_error(text: str) -> None:
    for prefix in ("PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN ", ""):
        try:
            header = parse_header((prefix + text + "\r\n").encode())
        except ProxyHeaderError:
            continue
        assert header.version == 1


def test_a_line_takes_few_reads_even_though_its_length_is_not_known() -> None:
    _, peer = read(LINE + b"GET / HTTP/1.1\r\n")
    assert peer.calls <= 7
    _, peer = read(V2 + b"GET / HTTP/1.1\r\n")
    assert peer.calls <= 3


def test_unknown_keeps_the_real_addresses_whatever_the_line_says() -> None:
    for line in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN \r\n", b"PROXY UNKNOWN ffff::1 \x00\xff\r 6 7\r\n"):
        header, peer = read(line + b"next\r\n")
        assert header == ProxyHeader(version=1)
        assert peer.taken == len(line)


def test_local_and_unspecified_keep_the_real_addresses_and_skip_by_length() -> None:
    for kind in (0x00, 0x11, 0xFF):  # the family of LOCAL is ignored, even an unknown one
        header, peer = read(v2(0x20, kind, b"anything") + b"next")
        assert header == ProxyHeader(command="LOCAL")
        assert peer.data[peer.taken :] == b"next"
    for kind in (0x00, 0x01, 0x10, 0x20, 0x30):
        assert read(v2(0x21, kind, b"anything"))[0] == ProxyHeader()


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        b"PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3 5.6.7.8 11 22\r\n",
        b"PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 ::1 ::2 1000 20000000\r\n",
        b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
        b"PROXY TCP6 ::1::2 ::2 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 -2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 +2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 \xb2\r\n",
        b"PROXY TCP4 1.2.3.\xb2 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r \n",
        b"PROXY TCP4 1.2.3.4\r 5.6.7.8 1 2\r\n",
    ],
)
def test_a_line_that_is_not_exactly_as_specified_is_refused(line: bytes) -> None:
    refused(line + b"more", "malformed PROXY header of version 1")


@pytest.mark.parametrize(
    ("data", "exactly"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 1),
        (b"\x16\x03\x01\x02\x00\x01", 1),
        (b"PROXY TCP5 ", 10),
        (b"PROXY TCP46", 11),
        (b"proxy TCP4", 1),
        (b"PROXY\tTCP4", 6),
        (b"PROXY UDP4 1.2.3.4", 8),
        (b"PROXY UNKNOWN\n", 14),
        (b"\r\n\r\n\0\r\nQUIX", 11),
        (b"\r\nGET", 3),
    ],
)
def test_what_cannot_be_a_header_is_refused_with_the_first_byte_that_tells(data: bytes, exactly: int) -> None:
    assert refused(data + bytes(20), "a PROXY header was due").taken == exactly


def test_a_line_without_an_end_is_refused_after_107_bytes() -> None:
    for introduction in (b"PROXY UNKNOWN ", b"PROXY TCP6 "):
        assert refused(introduction + b"f" * 200, "at most 107 bytes").taken == 107
    longest = b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n"
    assert len(longest) == 107
    assert read(longest + b"x")[1].taken == 107


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (v2(0x11, 0x11, bytes(12)), "version or command in a PROXY header: 0x11"),
        (v2(0x31, 0x11, bytes(12)), "0x31"),
        (v2(0x22, 0x11, bytes(12)), "0x22"),
        (v2(0x21, 0x41, bytes(12)), "family or transport in a PROXY header: 0x41"),
        (v2(0x21, 0x13, bytes(12)), "0x13"),
        (v2(0x21, 0x11, bytes(11)), "11 bytes, too few for addresses"),
        (v2(0x21, 0x21, bytes(35)), "35 bytes, too few"),
        (v2(0x21, 0x31, bytes(215)), "215 bytes, too few"),
        (v2(0x21, 0x11, b"", 4097), "4097 bytes, more than 4096"),
        (v2(0x20, 0x00, b"", 65535), "65535 bytes, more than 4096"),
    ],
)
def test_a_binary_header_that_must_be_wrong_is_refused_before_its_block_is_read(
    data: bytes, words: str
) -> None:
    assert refused(data, words).taken == 16


def tlv(kind: int, value: bytes, length: int | None = None) -> bytes:
    return bytes([kind]) + (len(value) if length is None else length).to_bytes(2, "big") + value


@pytest.mark.parametrize(
    ("tlvs", "words"),
    [
        (b"\x01", "TLV 0x01 is longer"),
        (b"\x01\x00", "TLV 0x01 is longer"),
        (tlv(0x02, b"abc", 4), "TLV 0x02 is longer"),
        (tlv(TLV_CRC32C, b"1234"), "checksum is wrong"),
        (tlv(TLV_CRC32C, b"123"), "checksum, of 4 bytes"),
        (tlv(TLV_CRC32C, b"1234") * 2, "more than one checksum"),
        (tlv(TLV_UNIQUE_ID, bytes(129)), "at most 128 bytes"),
        (tlv(TLV_TLS, b"1234"), "0x20"),
        (tlv(TLV_TLS, bytes(5) + b"\x21\x00\x01"), "TLV 0x21 is longer"),
    ],
)
def test_a_wrong_tlv_refuses_the_whole_header(tlvs: bytes, words: str) -> None:
    refused(v2(0x21, 0x11, bytes(12) + tlvs), words)


@given(headers_v2.filter(lambda header: header.source is not None), st.data())
def test_a_checksum_finds_every_single_wrong_bit(header: ProxyHeader, data: st.DataObject) -> None:
    built = bytearray(build_header(header, checksum=True))
    place = data.draw(st.integers(16, len(built) - 8))  # behind the fixed part, before the checksum's own TLV
    built[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        parsed = parse_header(bytes(built))
    except ProxyHeaderError:
        return
    # A wrong length can make it a part of another TLV; a header without one is as good as any (2.2.4).
    assert parsed.get(TLV_CRC32C) is None


def test_a_wrong_length_that_swallows_the_checksum_is_the_one_that_nothing_finds() -> None:
    header = ProxyHeader(source=V4, destination=V4, tlvs=[(TLV_NOOP, b""), (TLV_NOOP, b"123456")])
    built = bytearray(build_header(header, checksum=True))
    built[30] ^= 16  # the first one's length: all that is left, 3 and 6 bytes and the checksum's 7
    assert parse_header(bytes(built)).tlvs == ((TLV_NOOP, bytes(built[31:])),)


def test_the_longest_header_that_is_allowed_is_read_one_byte_at_a_time() -> None:
    header = ProxyHeader(source=V4, destination=V4, tlvs=[(TLV_NOOP, bytes(4081))])
    got, peer = read(build_header(header) + b"next", [1])
    assert got == header
    assert peer.taken == 16 + 4096


def test_a_path_ends_at_its_first_zero_byte_and_an_abstract_name_at_its_last_other_byte() -> None:
    block = b"/run/a\0garbage".ljust(108, b"\0") + b"\0name\0x".ljust(108, b"\0")
    header = parse_header(v2(0x21, 0x31, block))
    assert (header.source, header.destination) == (UnixAddress("/run/a"), UnixAddress("\0name\0x"))


def test_datagrams_are_told_from_streams_by_the_kind_of_address() -> None:
    header = parse_header(v2(0x21, 0x12, bytes(12)))
    assert header.source == UdpAddress("0.0.0.0", 0)


def test_mapped_addresses_are_written_as_the_kernel_writes_them() -> None:
    header = parse_header(b"PROXY TCP6 ::ffff:102:304 ::FFFF:1.2.3.5 1 2\r\n")
    assert header.source == TcpAddress("::ffff:1.2.3.4", 1)
    assert header.destination == TcpAddress("::ffff:1.2.3.5", 2)


@given(headers_v2, st.binary(max_size=100))
def test_a_datagram_is_header_and_payload(header: ProxyHeader, payload: bytes) -> None:
    assert parse_datagram(build_header(header) + payload) == (header, payload)


def test_a_datagram_with_half_a_header_or_a_line_is_refused() -> None:
    with pytest.raises(ProxyHeaderError, match="ends 1 bytes before its PROXY header"):
        parse_datagram(V2[:-1])
    for data in (LINE + b"payload", b"", b"payload", SIGNATURE[:-1]):
        with pytest.raises(ProxyHeaderError, match="version 2 was due in a datagram"):
            parse_datagram(data)


def test_parse_header_wants_the_header_and_nothing_else() -> None:
    with pytest.raises(ProxyHeaderError, match="3 bytes or more follow"):
        parse_header(V2 + b"abc")
    with pytest.raises(ProxyHeaderError, match="1 bytes or more are missing"):
        parse_header(LINE[:-1])


async def test_what_receive_raises_comes_through() -> None:
    async def broken(max_bytes: int) -> bytes:
        raise trio.BrokenResourceError

    with pytest.raises(trio.BrokenResourceError):
        await proxy_parser.read_header(broken)
