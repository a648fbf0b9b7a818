"""Certificates by name, loaded anew while they are served: new handshakes have the new, and nobody is cut."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from tests.certificates import der_of, lenient, replace, shown, write
from tests.handlers import ask, shout
from tests.tls import resume
from tests.waiting import until_ended, until_served
from triosock import CertificateFiles, CertificateRefused, Certificates, Connection
from triosock.testing import open_server

pytestmark = pytest.mark.usefixtures("no_leaks")

CA = trustme.CA()


@pytest.fixture
def one(tmp_path: Path) -> CertificateFiles:
    return write(tmp_path, CA, "one.example")


@pytest.fixture
def two(tmp_path: Path) -> CertificateFiles:
    return write(tmp_path, CA, "two.example", "*.two.example")


# By name


@pytest.mark.parametrize(
    ("name", "which"),
    [
        ("one.example", 0),
        ("two.example", 1),
        ("TWO.Example", 1),
        ("a.two.example", 1),
        ("exact.two.example", 2),
        ("a.b.two.example", 0),  # a wildcard is one label: RFC 6125, 6.4.3
        ("xtwo.example", 0),
        ("else.example", 0),
        (None, 0),
    ],
)
async def test_the_name_that_a_client_asks_for_picks_the_certificate(
    name: str | None,
    which: int,
    one: CertificateFiles,
    two: CertificateFiles,
    tmp_path: Path,
    serving: Any,
) -> None:
    three = write(tmp_path, CA, "exact.two.example")
    async with serving(shout, tls=Certificates(one, two, three)) as server:
        assert await shown(server, name) == der_of([one, two, three][which])


async def test_names_that_are_given_count_instead_of_its_own(
    one: CertificateFiles, two: CertificateFiles, serving: Any
) -> None:
    three = CertificateFiles(two.chain, two.key, names=["Three.example.", "*.three.example"])
    async with serving(shout, tls=Certificates(one, three)) as server:
        assert await shown(server, "three.example") == der_of(two)
        assert await shown(server, "x.three.example") == der_of(two)
        assert await shown(server, "two.example") == der_of(one)


async def test_of_two_for_one_name_the_first_has_it(
    tmp_path: Path, one: CertificateFiles, serving: Any
) -> None:
    again = write(tmp_path, CA, "one.example", stem="again")
    async with serving(shout, tls=Certificates(one, again)) as server:
        assert await shown(server, "one.example") == der_of(one)


async def test_strict_refuses_a_name_that_none_is_for(
    one: CertificateFiles, serving: Any, recorder: Any
) -> None:
    async with serving(shout, tls=Certificates(one, strict=True), observers=[recorder]) as server:
        assert await shown(server, "one.example") == der_of(one)
        assert await shown(server, None) == der_of(one)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await shown(server, "else.example")
    assert "UNRECOGNIZED_NAME" in str(caught.value.__cause__)


async def test_the_connection_still_knows_which_name_was_asked_for(
    one: CertificateFiles, two: CertificateFiles, serving: Any
) -> None:
    asked: list[str | None] = []

    async def note(conn: Connection) -> None:
        assert conn.tls is not None
        asked.append(conn.tls.server_name)

    async with serving(note, tls=Certificates(one, two)) as server:
        await shown(server, "a.two.example")
        await shown(server, None)
        await until_ended(server, 2)
    assert asked == ["a.two.example", None]


async def test_they_serve_over_any_stream_and_for_starttls(
    one: CertificateFiles, two: CertificateFiles
) -> None:
    certificates = Certificates(one, two)

    async def starttls(conn: Connection) -> None:
        await conn.receive_until(b"\n")
        await conn.send_all(b"go ahead\n")
        await conn.start_tls(certificates)

    for handler, hello, tls in ((shout, b"", certificates), (starttls, b"STARTTLS\n", None)):
        async with open_server(handler, tls=tls) as served:
            stream = (await served.connect()).transport
            if hello:
                assert await ask(stream, hello) == b"go ahead\n"
            client = trio.SSLStream(stream, lenient(), server_hostname="two.example")
            await client.do_handshake()
            assert client.getpeercert(binary_form=True) == der_of(two)
            await trio.aclose_forcefully(client)


async def test_configure_is_called_with_each_context(
    one: CertificateFiles, two: CertificateFiles, serving: Any
) -> None:
    seen: list[ssl.SSLContext] = []

    def configure(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        CA.configure_trust(context)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        seen.append(context)

    certificates = Certificates(one, two, configure=configure)
    assert seen == [loaded.context for loaded in certificates.loaded]
    async with serving(shout, tls=certificates) as server:
        for name in ("one.example", "two.example"):
            with pytest.raises(trio.BrokenResourceError):
                await shown(server, name)  # it has no certificate of its own
    certificates.reload()
    assert len(seen) == 4


# Loaded anew


async def test_new_handshakes_have_the_new_and_nobody_is_cut(
    one: CertificateFiles, tmp_path: Path, serving: Any, dial: Any
) -> None:
    certificates, old = Certificates(one), der_of(one)
    async with serving(shout, tls=certificates) as server:
        before = trio.SSLStream(await dial(server), lenient(), server_hostname="one.example")
        assert await ask(before, b"hello\n") == b"HELLO\n"
        assert await shown(server, "one.example") == old
        write(tmp_path, CA, "one.example")
        assert await shown(server, "one.example") == old  # not before somebody says so
        certificates.reload()
        assert der_of(one) != old
        assert await shown(server, "one.example") == der_of(one)
        assert await ask(before, b"still\n") == b"STILL\n"
        await trio.aclose_forcefully(before)


async def test_a_handshake_that_has_begun_keeps_the_old(
    one: CertificateFiles, tmp_path: Path, serving: Any, dial: Any
) -> None:
    certificates, old = Certificates(one), der_of(one)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = lenient().wrap_bio(to_client, to_server, server_hostname="one.example")
    async with serving(shout, tls=certificates) as server, await dial(server) as stream:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = to_server.read()
        await stream.send_all(hello[:100])
        await until_served(server)
        write(tmp_path, CA, "one.example")
        certificates.reload()
        await stream.send_all(hello[100:])
        done = False
        while not done:
            to_client.write(await stream.receive_some())
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
                done = True
        assert client.getpeercert(binary_form=True) == old != der_of(one)


def test_a_bad_file_keeps_the_old_and_says_why(
    one: CertificateFiles, two: CertificateFiles, tmp_path: Path
) -> None:
    certificates = Certificates(one, two)
    before = certificates.loaded
    write(tmp_path, CA, "one.example")  # a good one, and
    replace(tmp_path / "two.example.pem", b"nothing")
    with pytest.raises(
        CertificateRefused, match=r"two\.example\.pem: there is no whole certificate"
    ) as caught:
        certificates.reload()
    assert certificates.loaded == before  # all or nothing
    assert certificates.error is caught.value
    write(tmp_path, CA, "two.example")
    certificates.reload()
    assert certificates.error is None
    assert certificates.loaded[0].context is not before[0].context


def test_what_is_loaded_can_be_looked_at(one: CertificateFiles, two: CertificateFiles) -> None:
    first, second = Certificates(one, two).loaded
    assert (first.files, first.names) == (one, ("one.example",))
    assert second.names == ("two.example", "*.two.example")
    assert first.not_before < first.not_after


async def test_tls_sessions_from_before_are_not_resumed(one: CertificateFiles, serving: Any) -> None:
    async def greet(conn: Connection) -> None:
        await conn.receive_some()
        await conn.send_all(b"hello")

    certificates, context = Certificates(one), lenient()
    async with serving(greet, tls=certificates) as server:
        port = server.addresses[0].port
        _, _, session = await trio.to_thread.run_sync(resume, port, context, None)
        assert (await trio.to_thread.run_sync(resume, port, context, session))[1]
        certificates.reload()
        assert not (await trio.to_thread.run_sync(resume, port, context, session))[1]


# Arguments


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"configure": 3}, TypeError, "configure must be a function"),
        ({"check_every": -1}, ValueError, "check_every must be a number of seconds from 0 on"),
        ({"check_every": float("nan")}, ValueError, "check_every must be a number of seconds from 0 on"),
        ({"check_every": "1"}, TypeError, "check_every must be a number of seconds"),
    ],
)
def test_a_wrong_option_is_named(
    options: Any, kind: type[Exception], text: str, one: CertificateFiles
) -> None:
    with pytest.raises(kind, match=text):
        Certificates(one, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"chain": 3}, "chain must be the path of a PEM file, not 3"),
        ({"chain": "x", "key": 3}, "key must be the path of a PEM file, not 3"),
        ({"chain": "x", "password": 3}, "password must be a str, bytes, or a function .* not a int"),
        ({"chain": "x", "names": "one.example"}, "names must be several"),
        ({"chain": "x", "names": [b"one.example"]}, "a server name must be a str"),
    ],
)
def test_wrong_files_are_named(options: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        CertificateFiles(**options)


def test_there_must_be_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least one certificate"):
        Certificates()


@pytest.mark.parametrize(
    "name", ["", "bücher.example", "*", "a.*.example", "*a.example", "a b", "a..b", "x" * 64]
)
def test_a_name_that_no_client_can_ask_for_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="a server name is a host name in ASCII"):
        CertificateFiles("x", names=[name])


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(CertificateFiles("x", password="secret"))


async def test_they_are_no_good_for_a_clients_side(one: CertificateFiles) -> None:
    stream, _ = trio.testing.memory_stream_pair()
    with pytest.raises(TypeError, match="Certificates are for the server's side"):
        await Connection(stream).start_tls(Certificates(one), server_side=False)
