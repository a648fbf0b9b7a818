"""Which peers may send a PROXY header, and what happens to the others."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from triosock._core.model.addresses import MemoryAddress, TcpAddress, UdpAddress, UnixAddress
from triosock._core.model.errors import ProxyHeaderError
from triosock._core.protocols.proxy_parser import ProxyPolicy, check_proxy, parse_header

from .test_proxy import LINE, Peer


async def never(max_bytes: int) -> bytes:
    raise AssertionError("nothing may be read")


def piece(data: bytes) -> Callable[[int], Awaitable[bytes]]:
    return Peer(data).receive


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        (None, TcpAddress("127.9.9.9", 1), True),
        (None, TcpAddress("::1", 1), True),
        (None, UnixAddress(""), True),
        (None, MemoryAddress("m"), True),
        (None, TcpAddress("10.0.0.1", 1), False),
        (None, TcpAddress("::ffff:127.0.0.1", 1), True),
        (None, TcpAddress("::ffff:10.0.0.1", 1), False),
        (["10.0.0.0/8"], UdpAddress("10.255.0.1", 1), True),
        (["10.0.0.0/8"], TcpAddress("127.0.0.1", 1), False),
        (["10.0.0.0/8"], UnixAddress(""), False),
        (["unix"], UnixAddress("/x"), True),
        (["fe80::1"], TcpAddress("fe80::1", 1, 3), True),
        (["10.1.2.3"], TcpAddress("10.1.2.3", 1), True),
        (["0.0.0.0/0"], TcpAddress("::1", 1), False),
        (["0.0.0.0/0"], TcpAddress("name.example", 1), False),
        ([], MemoryAddress("m"), True),
        ([], TcpAddress("127.0.0.1", 1), False),
    ],
)
def test_whom_a_policy_trusts(trusted: Any, peer: Any, believed: bool) -> None:
    policy = ProxyPolicy() if trusted is None else ProxyPolicy(trusted=trusted)
    assert policy.trusts(peer) is believed


async def test_from_a_trusted_peer_a_header_is_due_and_believed() -> None:
    near = TcpAddress("127.0.0.1", 1)
    assert await ProxyPolicy().admit(near, piece(LINE)) == parse_header(LINE)
    with pytest.raises(ProxyHeaderError, match="was due"):
        await ProxyPolicy().admit(near, piece(b"GET / HTTP/1.1\r\n"))


async def test_what_becomes_of_other_peers_is_as_the_policy_says() -> None:
    far = TcpAddress("192.0.2.9", 1)
    with pytest.raises(ProxyHeaderError, match=r"tcp://192\.0\.2\.9:1 is no proxy that is trusted"):
        await ProxyPolicy().admit(far, never)
    assert await ProxyPolicy(untrusted="direct").admit(far, never) is None
    liar = Peer(LINE + b"rest")
    assert await ProxyPolicy(untrusted="ignore").admit(far, liar.receive) is None
    assert liar.taken == len(LINE)
    with pytest.raises(ProxyHeaderError, match="was due"):
        await ProxyPolicy(untrusted="ignore").admit(far, piece(b"GET / HTTP/1.1\r\n"))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"trusted": "10.0.0.0/8"}, TypeError, "trusted must be several networks"),
        ({"trusted": 5}, TypeError, "trusted must be several networks"),
        ({"trusted": [5]}, TypeError, "trusted must have networks as str"),
        ({"trusted": ["10.0.0.1/8"]}, ValueError, "trusted must have networks such as"),
        ({"trusted": ["localhost"]}, ValueError, "not 'localhost'"),
        ({"untrusted": "use"}, ValueError, "untrusted must be 'refuse', 'ignore' or 'direct'"),
    ],
)
def test_a_bad_policy_is_an_error_that_names_the_argument(
    options: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        ProxyPolicy(**options)


def test_policies_are_frozen_values() -> None:
    assert ProxyPolicy(trusted=["10.0.0.0/8"]) == ProxyPolicy(trusted=("10.0.0.0/8",))
    assert hash(ProxyPolicy()) == hash(ProxyPolicy())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ProxyPolicy().untrusted = "direct"  # type: ignore[misc]


def test_the_argument_proxy_is_a_policy_or_yes_or_no() -> None:
    policy = ProxyPolicy(trusted=[])
    assert check_proxy(policy) is policy
    assert check_proxy(True) == ProxyPolicy()
    assert check_proxy(None) is None
    assert check_proxy(False) is None
    for bad in ("v2", 1, ProxyPolicy):
        with pytest.raises(TypeError, match="proxy must be True, a ProxyPolicy or None"):
            check_proxy(bad)
