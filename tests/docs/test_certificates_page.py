"""The page about certificates: its program, and its configuration file."""

from __future__ import annotations

import signal
import ssl
from pathlib import Path
from typing import Any

import trio
import trustme

from tests.certificates import der_of, lenient, replace, shown_at, write
from tests.docs.units import CODE, DEPLOY
from tests.programs import server_program
from tests.waiting import eventually
from triosock import Certificates
from triosock.cli.config_file import read_config


def test_the_program_has_several_and_loads_them_on_sighup(tmp_path: Path) -> None:
    authority = trustme.CA()

    def renew() -> dict[str, Any]:
        return {
            "else.example": write(tmp_path, authority, "default.example", stem="default"),
            "shop.example": write(tmp_path, authority, "shop.example", stem="shop"),
            "a.books.example": write(tmp_path, authority, "old.example", stem="books"),
        }

    files = renew()
    with server_program(CODE / "certificates.py", tmp_path) as program:
        port = program.port("shops")
        old = {name: der_of(one) for name, one in files.items()}
        assert {name: shown_at(port, name) for name in files} == old
        replace(tmp_path / "shop.key", b"")
        program.signal(signal.SIGHUP)
        program.wait_for(r"shop\.pem and .*shop\.key: cannot be used")
        files = renew()
        assert {name: shown_at(port, name) for name in files} == old
        program.signal(signal.SIGHUP)
        new = {name: der_of(one) for name, one in files.items()}
        assert eventually(lambda: shown_at(port, "shop.example") == new["shop.example"])
        assert {name: shown_at(port, name) for name in files} == new


def test_the_configuration_file_is_one() -> None:
    (endpoint,) = read_config(DEPLOY / "certificates.toml").endpoints
    assert endpoint.tls is not None
    assert [len(one.names) for one in endpoint.tls.certificates] == [0, 2]


async def test_protocols_have_their_handlers(load: Any, tmp_path: Path, serving: Any, dial: Any) -> None:
    certificates = Certificates(write(tmp_path, trustme.CA(), "web.example"))
    async with serving(load("protocols").handlers, tls=certificates) as server:
        for offered, heard in ((["h2"], b"HTTP/2"), (["http/1.1"], b"HTTP/1.1"), (["x"], b"HTTP/1.1")):
            context = lenient()
            context.set_alpn_protocols(offered)
            client = trio.SSLStream(await dial(server), context, server_hostname="web.example")
            assert (await client.receive_some()).startswith(heard)
            await trio.aclose_forcefully(client)
    (endpoint,) = read_config(DEPLOY / "protocols.toml").endpoints
    assert endpoint.tls is not None
    assert endpoint.tls.handlers == {"h2": "shop:http2"}


async def test_only_the_two_services_may_ask(load: Any, tmp_path: Path, serving: Any, dial: Any) -> None:
    authority = trustme.CA()

    def ask_clients(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)

    certificates = Certificates(write(tmp_path, authority, "web.example"), configure=ask_clients)
    heard = {}
    async with serving(load("clients").answer, tls=certificates) as server:
        for name in ("billing.internal", "shop.internal"):
            context = lenient()
            authority.issue_cert(name).configure_cert(context)
            client = trio.SSLStream(await dial(server), context, server_hostname="web.example")
            try:
                heard[name] = bytes(await client.receive_some())
            except trio.BrokenResourceError:
                heard[name] = b""
            await trio.aclose_forcefully(client)
    assert heard == {"billing.internal": b"hello billing.internal\n", "shop.internal": b""}
