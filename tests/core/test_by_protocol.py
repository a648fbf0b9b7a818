"""Handlers by the protocol that ALPN has chosen: each client is served by that one, and by no other."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from tests.certificates import write
from tests.handlers import say_hello_and_wait, says
from tests.tls import client_context, hears, server_context, trusting
from tests.waiting import until_ended
from triosock import (
    AddressUnavailable,
    Cause,
    Certificates,
    Connection,
    HandshakeFailed,
    Limits,
    events,
    serve_tcp,
)
from triosock.testing import open_server

pytestmark = pytest.mark.usefixtures("no_leaks")


async def answer(stream: trio.abc.Stream, *protocols: str) -> bytes:
    """Return what a client gets that offers these protocols; nothing if it is sent away properly."""
    return await hears(stream, client_context(alpn=protocols))


BOTH = {"h2": says(b"two"), "http/1.1": says(b"one")}


@pytest.mark.parametrize(
    ("offered", "heard"),
    [
        (("http/1.1",), b"one"),
        (("h2",), b"two"),
        (("http/1.1", "h2"), b"two"),  # the server's order counts
        (("x", "http/1.1"), b"one"),
    ],
)
async def test_what_both_have_agreed_on_is_served_by_its_handler(
    offered: tuple[str, ...], heard: bytes, serving: Any, dial: Any
) -> None:
    async with serving(BOTH, tls=server_context()) as server:
        assert await answer(await dial(server), *offered) == heard


@pytest.mark.parametrize("offered", [(), ("x",)])
async def test_who_agrees_on_nothing_is_for_none_or_sent_away(
    offered: tuple[str, ...], serving: Any, dial: Any, recorder: Any
) -> None:
    async with serving({**BOTH, None: says(b"plain")}, tls=server_context()) as server:
        assert await answer(await dial(server), *offered) == b"plain"
    async with serving(BOTH, tls=server_context(), observers=[recorder]) as server:
        assert await answer(await dial(server), *offered) == b""
        assert await until_ended(server) == {Cause.HANDSHAKE: 1}
    (refused,) = recorder.of(events.HandshakeRefused)
    assert isinstance(refused.error, HandshakeFailed)
    assert str(refused.error).endswith("none of the protocols that were offered: h2, http/1.1")
    assert recorder.of(events.HandlerFailed) == []


async def test_over_any_stream_and_with_certificates(tmp_path: Any) -> None:
    authority = trustme.CA()
    certificates = Certificates(
        write(tmp_path, authority, "one.example"), write(tmp_path, authority, "two.example")
    )
    context = trusting(authority)
    context.set_alpn_protocols(["h2"])
    for _ in range(2):
        async with open_server(BOTH, tls=certificates) as served:
            for name in ("one.example", "two.example"):
                stream = (await served.connect()).transport
                assert await hears(stream, context, name) == b"two"
        write(tmp_path, authority, "two.example")
        certificates.reload()  # new contexts offer the same


async def test_one_too_many_is_for_the_overflow_handler(serving: Any, dial: Any) -> None:
    limits = Limits(max_connections=1, overflow=says(b"full"))
    async with serving({"h2": say_hello_and_wait}, tls=server_context(), limits=limits) as server:
        client = trio.SSLStream(await dial(server), client_context(alpn=("h2",)), server_hostname="localhost")
        assert await client.receive_some() == b"hello"
        assert await answer(await dial(server), "h2") == b"full"
        await trio.aclose_forcefully(client)


async def test_certificates_offer_the_same_to_all_servers(tmp_path: Any, serving: Any) -> None:
    certificates = Certificates(write(tmp_path, trustme.CA(), "one.example"))
    async with serving(BOTH, tls=certificates), serving(BOTH, tls=certificates):
        with pytest.raises(ExceptionGroup) as caught:
            async with serving({"h2": says(b"")}, tls=certificates):
                raise AssertionError("it must not serve")
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert "offer h2, http/1.1 by ALPN for another server" in str(error)


async def test_certificates_offer_others_when_no_server_uses_them_any_more(
    tmp_path: Any, serving: Any, dial: Any, stdlib_socket: Any
) -> None:
    authority = trustme.CA()
    certificates = Certificates(write(tmp_path, authority, "one.example"))
    taken = stdlib_socket.getsockname()[1]
    with pytest.raises(AddressUnavailable):
        await serve_tcp({"never": says(b"")}, taken, host="127.0.0.1", tls=certificates)
    context = trusting(authority)
    context.set_alpn_protocols(["h2", "x"])
    for protocol in ("x", "h2"):
        async with serving({protocol: says(protocol.encode())}, tls=certificates) as server:
            assert await hears(await dial(server), context, "one.example") == protocol.encode()
            write(tmp_path, authority, "one.example")
            certificates.reload()
            assert await hears(await dial(server), context, "one.example") == protocol.encode()


async def test_of_two_servers_that_open_at_once_one_is_refused(tmp_path: Any) -> None:
    certificates = Certificates(write(tmp_path, trustme.CA(), "one.example"))
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            for protocol in ("x", "y"):
                serve = functools.partial(serve_tcp, host="127.0.0.1", tls=certificates)
                nursery.start_soon(serve, {protocol: says(b"")}, 0)
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert "by ALPN for another server" in str(error)


def plain(conn: Connection) -> None: ...


@pytest.mark.parametrize(
    ("handlers", "options", "kind", "text"),
    [
        (BOTH, {}, ValueError, "handlers by protocol need tls="),
        ({}, {"tls": server_context()}, ValueError, "must be at least one for a protocol"),
        ({None: says(b"")}, {"tls": server_context()}, ValueError, "must be at least one for a protocol"),
        ({"": says(b"")}, {"tls": server_context()}, ValueError, "1 to 255 ASCII characters"),
        ({"ü": says(b"")}, {"tls": server_context()}, ValueError, "1 to 255 ASCII characters"),
        ({"x" * 256: says(b"")}, {"tls": server_context()}, ValueError, "1 to 255 ASCII characters"),
        ({b"h2": says(b"")}, {"tls": server_context()}, TypeError, "a protocol is a str"),
        ({"h2": plain}, {"tls": server_context()}, TypeError, "the handler of 'h2' must be"),
        ({"h2": None}, {"tls": server_context()}, TypeError, "the handler of 'h2' must be"),
    ],
)
async def test_wrong_handlers_are_said_before_anything_is_opened(
    handlers: Any, options: Any, kind: type[Exception], text: str, serving: Any
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with serving(handlers, **options):
            raise AssertionError("it must not serve")
    (error,) = caught.value.exceptions
    assert isinstance(error, kind)
    assert text in str(error)
