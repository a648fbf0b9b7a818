"""Control messages: which address a reply leaves from, and what the kernel counts."""

from __future__ import annotations

import socket
import struct

import pytest

from triosock._core.datagram import packet_info
from triosock._core.datagram.packet_info import (
    IP_PKTINFO,
    Origin,
    answer_to,
    is_destination,
    read_origin,
    read_overflow,
)

pytestmark = pytest.mark.skipif(IP_PKTINFO is None, reason="this system has no IP_PKTINFO")
V6 = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)


def v4(interface: int, ours: str, header: str):
    data = struct.pack("=i4s4s", interface, socket.inet_aton(ours), socket.inet_aton(header))
    return (socket.IPPROTO_IP, IP_PKTINFO, data)


def v6(address: str, interface: int):
    return (*V6, struct.pack("=16si", socket.inet_pton(socket.AF_INET6, address), interface))


def test_ipv4_a_reply_leaves_from_the_address_that_was_asked_by_any_interface():
    message = v4(3, "127.0.0.5", "127.0.0.5")
    assert read_origin(message) == Origin("127.0.0.5", 3)
    assert answer_to(message) == (v4(0, "127.0.0.5", "0.0.0.0"),)


def test_ipv4_multicast_is_seen_as_such_and_answered_from_the_kernels_choice():
    message = v4(3, "192.0.2.2", "239.1.2.3")
    assert read_origin(message) == Origin("239.1.2.3", 3)
    assert answer_to(message) == (v4(0, "192.0.2.2", "0.0.0.0"),)


def test_ipv6_a_reply_leaves_from_the_address_that_was_asked():
    assert read_origin(v6("2001:db8::5", 4)) == Origin("2001:db8::5", 4)
    assert answer_to(v6("2001:db8::5", 4)) == (v6("2001:db8::5", 0),)


@pytest.mark.parametrize("address", ["fe80::1", "febf::1"])
def test_ipv6_link_local_keeps_its_interface(address):
    assert answer_to(v6(address, 4)) == (v6(address, 4),)


def test_ipv6_multicast_is_no_source():
    assert answer_to(v6("ff02::fb", 4)) == ()


def test_which_messages_are_which():
    assert is_destination(*v4(0, "1.2.3.4", "1.2.3.4")[:2])
    assert is_destination(*V6)
    assert not is_destination(socket.SOL_SOCKET, 40)
    assert read_overflow(socket.SOL_SOCKET, 40, struct.pack("=I", 7)) == 7
    assert read_overflow(socket.IPPROTO_IP, 40, struct.pack("=I", 7)) is None


def test_a_kernel_that_does_not_tell_its_drops_is_no_error(monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for option in (9_999, None, socket.SO_REUSEADDR):  # the answer of the last is too short
            monkeypatch.setattr(packet_info, "_SO_MEMINFO", option)
            assert packet_info.count_overflow(sock) is None
        monkeypatch.setattr(packet_info, "SO_RXQ_OVFL", 9_999)
        packet_info.prepare(sock, wildcard=True)
