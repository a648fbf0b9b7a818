"""The invariant: `parse_address(str(address)) == address`, and what is not an address does not become one."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triosock._core.model.addresses import (
    MemoryAddress,
    TcpAddress,
    UdpAddress,
    UnixAddress,
    check_port,
    from_sockaddr,
    parse_address,
)

kinds = st.sampled_from([TcpAddress, UdpAddress])
ports = st.integers(0, 65535)
names = st.text(min_size=1).filter(lambda text: not re.search(r"[\s\x00-\x1f\x7f:/?#@%\[\]\\]", text))


@given(kinds, names | st.ip_addresses(v=4).map(str), ports)
def test_a_name_or_ipv4_address_is_parsed_as_it_is_printed(make: Any, host: str, port: int) -> None:
    address = make(host, port)
    assert parse_address(str(address)) == address


@given(kinds, st.ip_addresses(v=6).map(str), ports, st.integers(0, 2**32 - 1), st.booleans())
def test_an_ipv6_address_is_parsed_as_it_is_printed(
    make: Any, host: str, port: int, scope_id: int, upper: bool
) -> None:
    address = make(host.upper() if upper else host, port, scope_id)
    assert parse_address(str(address)) == address


@given(st.binary(min_size=1).filter(lambda path: path != b"\0"))
def test_a_unix_path_of_any_bytes_is_parsed_as_it_is_printed(path: bytes) -> None:
    address = UnixAddress(path)
    assert str(address).isascii()
    assert parse_address(str(address)) == address


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    for candidate in (text, f"tcp://{text}", f"udp://[{text}]:80", f"tcp://{text}:80", f"unix://{text}"):
        try:
            address = parse_address(candidate)
        except ValueError:
            continue
        assert parse_address(str(address)) == address


def test_addresses_print_as_urls() -> None:
    assert str(TcpAddress("127.0.0.1", 80)) == "tcp://127.0.0.1:80"
    assert str(UdpAddress("::1", 53)) == "udp://[::1]:53"
    assert str(TcpAddress("fe80::1", 80, 3)) == "tcp://[fe80::1%253]:80"
    assert str(UnixAddress("/run/a b.sock")) == "unix:///run/a%20b.sock"
    assert str(UnixAddress(b"/run/\xff")) == "unix:///run/%FF"
    assert str(UnixAddress("\0name")) == "unix://@name"
    assert str(UnixAddress("@file")) == "unix://%40file"
    assert str(UnixAddress("")) == "unix://"
    assert str(MemoryAddress("lobby")) == "memory://lobby"


def test_abstract_names_are_written_with_an_at_sign() -> None:
    for text in ("unix://@a%40b@", "unix://%00a@b%40"):
        assert parse_address(text) == UnixAddress("\0a@b@")


def test_a_host_keeps_its_letters() -> None:
    assert parse_address("tcp://Example.ORG:80") == TcpAddress("Example.ORG", 80)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("127.0.0.1:80", "must begin with tcp://, udp:// or unix://"),
        ("http://host:80", "must begin with tcp://"),
        ("TCP://host:80", "must begin with tcp://"),
        ("memory://lobby", "must begin with tcp://"),
        ("", "must begin with tcp://"),
        ("tcp://", "must be like tcp://host:port"),
        ("tcp://host", "must be like tcp://host:port"),
        ("tcp://host:", "must be like tcp://host:port"),
        ("tcp://:80", "must be like tcp://host:port"),
        ("tcp://host:x", "must be like tcp://host:port"),
        ("tcp://host:+80", "must be like tcp://host:port"),
        ("tcp://host:8\n0", "must be like tcp://host:port"),
        ("tcp://host:８０", "must be like tcp://host:port"),
        ("tcp://host:80/path", "must be like tcp://host:port"),
        ("tcp://::1:80", "an IPv6 host in brackets"),
        ("tcp://[::1]", "an IPv6 host in brackets"),
        ("tcp://[host]:80", "an IPv6 host in brackets"),
        ("tcp://[::1%3]:80", "an IPv6 host in brackets"),
        ("tcp://[fe80::1%25eth0]:80", "must be an interface's number, not 'eth0'"),
        ("tcp://[fe80::1%25]:80", "must be an interface's number, not ''"),
        (
            "tcp://[fe80::1%259999999999]:80",
            "scope_id must be from 0 to 4294967295, the number of an interface",
        ),
        ("tcp://[a:b@c]:80", "host must be a name or an IP address"),
        ("tcp://user@host:80", "host must be a name or an IP address"),
        ("tcp://ho st:80", "host must be a name or an IP address"),
        ("tcp://host:65536", "port must be from 0 to 65535"),
        ("unix://", "names no path"),
        ("unix://@", "names no path"),
        ("unix://%00", "names no path"),
    ],
)
def test_what_is_no_address_is_a_value_error_that_quotes_it_and_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("bad", [None, 80, b"tcp://host:80", TcpAddress("host", 80)])
def test_parse_wants_a_str_and_says_so(bad: Any) -> None:
    with pytest.raises(TypeError, match="an address must be a str"):
        parse_address(bad)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ((b"host", 80), TypeError, "host must be a str"),
        ((None, 80), TypeError, "host must be a str"),
        (("", 80), ValueError, "host must be a name"),
        (("localhost:80", 80), ValueError, "without brackets, port or zone"),
        (("[::1]", 80), ValueError, "without brackets, port or zone"),
        (("fe80::1%eth0", 80), ValueError, "without brackets, port or zone"),
        (("host", "80"), TypeError, "port must be an int"),
        (("host", True), TypeError, "port must be an int"),
        (("host", 80.0), TypeError, "port must be an int"),
        (("host", -1), ValueError, "port must be from 0 to 65535 (0: any free one), not -1"),
        (("host", 65536), ValueError, "port must be from 0 to 65535"),
        (("::1", 80, "lo"), TypeError, "scope_id must be an int"),
        (("::1", 80, -1), ValueError, "scope_id must be"),
        (("::1", 80, 2**32), ValueError, "scope_id must be"),
        (("127.0.0.1", 80, 3), ValueError, "scope_id must be"),
    ],
)
def test_a_wrong_field_is_an_error_that_names_it(fields: Any, error: type[Exception], words: str) -> None:
    for make in (TcpAddress, UdpAddress):
        with pytest.raises(error, match=re.escape(words)):
            make(*fields)


def test_paths_and_names_of_other_types_are_errors_that_name_the_field() -> None:
    with pytest.raises(TypeError, match=r"path must be a str, bytes or os\.PathLike, not 5"):
        UnixAddress(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name must be a str, not 5"):
        MemoryAddress(5)  # type: ignore[arg-type]


def test_check_port_names_the_argument_that_it_was_given() -> None:
    assert check_port(0) == 0
    assert check_port(65535) == 65535
    with pytest.raises(TypeError, match="metrics_port must be an int"):
        check_port(None, argument="metrics_port")
    with pytest.raises(ValueError, match="metrics_port must be from 0"):
        check_port(70000, argument="metrics_port")


def test_a_path_may_be_given_as_str_bytes_or_path() -> None:
    assert UnixAddress("/run/a") == UnixAddress(b"/run/a") == UnixAddress(Path("/run/a"))
    assert UnixAddress(b"/\xff").sockaddr == b"/\xff"


def test_addresses_are_frozen_hashable_and_equal_only_to_their_own_kind() -> None:
    assert {TcpAddress("h", 1), TcpAddress("h", 1)} == {TcpAddress("h", 1)}
    assert TcpAddress("h", 1) != UdpAddress("h", 1)
    assert TcpAddress("::1", 1, 2) != TcpAddress("::1", 1, 3)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        TcpAddress("h", 1).port = 2  # type: ignore[misc]


def test_family_and_sockaddr_are_what_the_socket_module_wants() -> None:
    assert TcpAddress("127.0.0.1", 80).family is socket.AF_INET
    assert TcpAddress("127.0.0.1", 80).sockaddr == ("127.0.0.1", 80)
    assert UdpAddress("fe80::1", 80, 3).family is socket.AF_INET6
    assert UdpAddress("fe80::1", 80, 3).sockaddr == ("fe80::1", 80, 0, 3)
    assert UnixAddress("\0name").family is socket.AF_UNIX
    assert UnixAddress("\0name").sockaddr == b"\0name"


def test_only_names_with_a_leading_zero_byte_are_abstract() -> None:
    assert UnixAddress("\0name").is_abstract
    assert not UnixAddress("/run/a").is_abstract
    assert not UnixAddress("").is_abstract


def test_the_kernels_answers_become_values() -> None:
    stream, dgram = socket.SOCK_STREAM, socket.SOCK_DGRAM
    assert from_sockaddr(socket.AF_INET, stream, ("127.0.0.1", 80)) == TcpAddress("127.0.0.1", 80)
    assert from_sockaddr(socket.AF_INET, dgram, ("127.0.0.1", 80)) == UdpAddress("127.0.0.1", 80)
    assert from_sockaddr(socket.AF_INET6, stream, ("fe80::1%lo", 80, 0, 1)) == TcpAddress("fe80::1", 80, 1)
    for nameless in ("", b"", None):
        assert from_sockaddr(socket.AF_UNIX, stream, nameless) == UnixAddress("")
    assert from_sockaddr(socket.AF_UNIX, dgram, b"\0x") == UnixAddress("\0x")
    with pytest.raises(ValueError, match="socket family 16 is none of"):
        from_sockaddr(16, stream, (0, 0))


def test_real_sockets_have_addresses_that_can_be_connected_to(tmp_path: Path) -> None:
    path = os.fsdecode(tmp_path / "socket")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        for listener in (tcp, unix):
            address = parse_address(
                str(from_sockaddr(listener.family, listener.type, listener.getsockname()))
            )
            assert not isinstance(address, MemoryAddress)
            with socket.socket(address.family) as client:
                client.connect(address.sockaddr)


@given(st.ip_addresses())
def test_every_ip_address_is_a_host(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert TcpAddress(str(address), 1).family is (socket.AF_INET if address.version == 4 else socket.AF_INET6)
