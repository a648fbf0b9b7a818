"""TLS on servers and connections, with trustme's certificates and with OpenSSL's own client."""

from __future__ import annotations

import contextlib
import gc
import shutil
import socket
import ssl

import pytest
import trio
import trio.testing
import trustme

import triosock
from tests.certificates import write
from tests.handlers import ask, ask_line, read_all, send_in_part, shout
from tests.pairs import socket_pair
from tests.servers import running
from tests.tls import CA, client_context, dial_tls, server_context
from tests.waiting import takes, until_ended
from triosock import Cause, Connection, Timeouts
from triosock._core.model import events

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_a_tls_server_talks_tls(serving, recorder):
    async with serving(shout, tls=server_context(), observers=[recorder]) as server:
        async with await dial_tls(server) as client:
            assert await ask(client, b"hello\n") == b"HELLO\n"
    (finished,) = recorder.of(events.HandshakeFinished)
    assert finished.tls_version == "TLSv1.3"


async def serve_one(serving, handler, tls=None, context=None):
    """Serve a client who shakes hands, and hears nothing but the end."""
    async with serving(handler, tls=tls or server_context()) as server:
        async with await dial_tls(server, context) as client:
            await client.do_handshake()
            assert await client.receive_some() == b""


async def test_the_connection_tells_what_was_agreed_on(serving):
    seen = []

    async def handler(conn):
        seen.append(conn.tls)

    context = server_context(ask_client=True, alpn=("h2", "http/1.1"))
    await serve_one(serving, handler, context, client_context(cert=True, alpn=("http/1.1",)))
    (tls,) = seen
    assert tls.version == "TLSv1.3"
    assert tls.cipher.startswith("TLS_")
    assert tls.alpn == "http/1.1"
    assert ("email", "client@example.org") in tls.peer_certificate["subjectAltName"]
    assert tls.peer_certificate_der.startswith(b"\x30\x82")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_megabyte_goes_through_both_ways(serving, version):
    content = bytes(range(256)) * 4096

    async def handler(conn):
        await conn.send_all(await conn.receive_exactly(len(content)))

    context = client_context()
    context.minimum_version = context.maximum_version = version
    async with serving(handler, tls=server_context()) as server, await dial_tls(server, context) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, content)
            assert await read_all(client) == content


async def test_a_client_without_a_certificate_is_refused_if_one_is_wanted(serving, recorder):
    async with serving(shout, tls=server_context(ask_client=True), observers=[recorder]) as server:
        client = await dial_tls(server)
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"hello\n")
            await client.receive_some()
        await trio.aclose_forcefully(client)
        assert await until_ended(server) == {Cause.HANDSHAKE: 1}
    (refused,) = recorder.of(events.HandshakeRefused)
    assert "certificate" in str(refused.error)


async def test_plain_text_to_a_tls_port_is_a_clear_event_and_no_error_in_the_log(
    serving, dial, recorder, caplog
):
    async with serving(shout, tls=server_context(), observers=[recorder]) as server:
        client = await dial(server)
        await client.send_all(b"GET / HTTP/1.0\r\n\r\n")
        await read_all(client)
        await client.aclose()
        await until_ended(server)
    (refused,) = recorder.of(events.HandshakeRefused)
    assert isinstance(refused.error, triosock.HandshakeFailed)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def test_a_client_that_hangs_up_in_the_handshake_is_no_more_than_that(serving, dial, recorder):
    async with serving(shout, tls=server_context(), observers=[recorder]) as server:
        client = await dial(server)
        await client.aclose()
        assert await until_ended(server) == {Cause.HANDSHAKE: 1}
    assert len(recorder.of(events.HandshakeRefused)) == 1


async def test_a_silent_client_is_cut_by_the_handshake_timeout(serving, dial, recorder, autojump_clock):
    async with (
        serving(shout, tls=server_context(), timeouts=Timeouts(handshake=4), observers=[recorder]) as server,
        await dial(server) as client,
    ):
        with takes(4, abs=0.1):
            assert await client.receive_some() == b""
        await client.aclose()
        assert await until_ended(server) == {Cause.HANDSHAKE: 1}
    (refused,) = recorder.of(events.HandshakeRefused)
    assert refused.error is None


async def test_nobody_waits_for_somebody_elses_handshake(serving, dial):
    async with serving(shout, tls=server_context()) as server, await dial(server):
        async with await dial_tls(server) as client:
            assert await ask(client, b"hello\n") == b"HELLO\n"


async def test_a_stream_that_was_cut_off_says_so(serving, recorder):
    ends = []

    async def handler(conn):
        try:
            ends.append(await conn.receive_some())
        except trio.BrokenResourceError as error:
            ends.append(error)
            raise

    async with serving(handler, tls=server_context(), observers=[recorder]) as server:
        client = await dial_tls(server)
        await client.do_handshake()
        await client.transport_stream.aclose()
        await until_ended(server)
        assert isinstance(ends[0], trio.BrokenResourceError)
        assert server.statistics().ended == {Cause.PEER: 1}
        await trio.aclose_forcefully(client)


async def test_an_idle_tls_connection_ends_at_once_when_drained_and_with_a_close_notify(serving):
    async with serving(shout, tls=server_context()) as server:
        client = await dial_tls(server)
        assert await ask(client, b"one\n") == b"ONE\n"
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.drain(grace=60)
        # trio's SSLStream raises BrokenResourceError if the close_notify is missing.
        assert await client.receive_some() == b""
        await client.aclose()
        assert (await server.wait_closed()).clean


async def test_a_request_that_had_arrived_encrypted_is_answered_in_a_drain(serving):
    async with serving(shout, tls=server_context()) as server, await dial_tls(server) as client:
        assert await ask(client, b"one\n") == b"ONE\n"
        await client.send_all(b"two\n")
        server.drain(grace=60)
        assert await client.receive_some() == b"TWO\n"
        assert await client.receive_some() == b""


async def test_send_eof_is_refused_under_tls(serving):
    errors = []

    async def handler(conn):
        try:
            await conn.send_eof()
        except TypeError as error:
            errors.append(str(error))

    await serve_one(serving, handler)
    assert "TLS cannot end the stream in one direction" in errors[0]


async def test_tls_on_a_unix_socket(path):
    async with running(triosock.serve_unix, shout, path, tls=server_context()):
        stream = await trio.open_unix_socket(str(path))
        client = trio.SSLStream(stream, client_context(), server_hostname="localhost")
        assert await ask(client, b"hello\n") == b"HELLO\n"
        await client.aclose()


async def test_a_client_may_be_a_connection_too(serving):
    async with serving(shout, tls=server_context()) as server:
        sock = socket.create_connection(("127.0.0.1", server.addresses[0].port))
        sock.setblocking(False)
        client = Connection(sock)
        info = await client.start_tls(client_context(), server_side=False, server_hostname="localhost")
        assert info.server_name == "localhost"
        await client.send_all(b"hello\nthere\n")
        lines = client.lines()
        assert [await lines.__anext__(), await lines.__anext__()] == [b"HELLO\n", b"THERE\n"]
        await client.aclose()


# STARTTLS


async def starttls(conn: Connection) -> None:
    assert await conn.receive_until(b"\n") == b"STARTTLS\n"
    await conn.send_all(b"go ahead\n")
    await conn.start_tls(server_context())
    await shout(conn)


async def test_starttls(serving, dial):
    async with serving(starttls) as server:
        plain = await dial(server)
        assert await ask(plain, b"STARTTLS\n") == b"go ahead\n"
        client = trio.SSLStream(plain, client_context(), server_hostname="localhost")
        assert await ask(client, b"secret\n") == b"SECRET\n"
        await client.aclose()


async def test_commands_smuggled_in_before_starttls_are_refused(serving, dial, recorder):
    async with serving(starttls, observers=[recorder]) as server, await dial(server) as plain:
        await plain.send_all(b"STARTTLS\nDELETE everything\n")
        assert await read_all(plain) == b"go ahead\n"
        await plain.aclose()
        await until_ended(server)
    closed = recorder.of(events.ConnectionClosed)[0]
    assert closed.cause is Cause.PEER
    assert "in the clear" in str(closed.error)


async def test_starttls_has_a_timeout_of_its_own(serving, dial, autojump_clock):
    async with serving(starttls, timeouts=Timeouts(handshake=3)) as server, await dial(server) as plain:
        await trio.sleep(100)
        assert await ask(plain, b"STARTTLS\n") == b"go ahead\n"
        with takes(3, abs=0.1):
            assert await plain.receive_some() == b""


async def test_tls_twice_is_refused(serving):
    errors = []

    async def handler(conn):
        with pytest.raises(RuntimeError, match="TLS is on already") as caught:
            await conn.start_tls(server_context())
        errors.append(caught.value)

    await serve_one(serving, handler)
    assert errors


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a\0b", TypeError), ("x" * 64, UnicodeError), ("", ValueError), ("a..b", UnicodeError)],
)
async def test_a_name_that_no_server_has_costs_its_own_connection(serving, dial, recorder, name, kind):
    async def handler(conn):
        await conn.start_tls(client_context(), server_side=False, server_hostname=name)

    async with serving(handler, observers=[recorder]) as server:
        for _ in range(2):
            client = await dial(server)
            with contextlib.suppress(trio.BrokenResourceError):
                assert await client.receive_some() == b""
            await client.aclose()
        assert await until_ended(server, 2) == {Cause.FAILED: 2}
        # Newer Pythons raise subclasses of UnicodeError.
        assert [isinstance(one.error, kind) for one in recorder.of(events.HandlerFailed)] == [True, True]
    gc.collect()  # a socket that is lost warns


@pytest.mark.parametrize("end", [triosock.Connection.abort, triosock.Connection.aclose])
async def test_tls_on_what_was_closed_is_no_fault_of_the_peer(serving, dial, end):
    async def handler(conn):
        if ended := end(conn):
            await ended
        await conn.start_tls(server_context())

    async with serving(handler) as server, await dial(server):
        assert await until_ended(server) == {Cause.FINISHED: 1}


async def test_tls_on_what_is_closed_while_certificates_are_loaded(serving, dial, tmp_path):
    certificates = triosock.Certificates(write(tmp_path, trustme.CA(), "localhost"), check_every=0)
    write(tmp_path, trustme.CA(), "localhost")

    async def handler(conn):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conn.start_tls, certificates)
            await trio.testing.wait_all_tasks_blocked()
            conn.abort()

    async with serving(handler) as server, await dial(server):
        assert await until_ended(server) == {Cause.FINISHED: 1}


async def test_tls_by_two_tasks_at_once_is_refused_to_the_second(serving, dial):
    async def handler(conn):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conn.start_tls, server_context())
            await trio.testing.wait_all_tasks_blocked(0.01)
            with pytest.raises(RuntimeError, match="TLS is on already, or was begun"):
                await conn.start_tls(server_context())
        await shout(conn)

    async with serving(handler) as server:
        client = trio.SSLStream(await dial(server), client_context(), server_hostname="localhost")
        assert await ask(client, b"x\n") == b"X\n"
        await client.aclose()


async def test_tls_over_a_memory_stream():
    one, other = trio.testing.memory_stream_pair()
    server, client = Connection(one), Connection(other)
    async with trio.open_nursery() as nursery:

        async def serve():
            info = await server.start_tls(server_context())
            assert info.version == "TLSv1.3"
            await server.send_all(await server.receive_until(b"\n"))

        nursery.start_soon(serve)
        await client.start_tls(client_context(), server_side=False, server_hostname="localhost")
        assert await ask_line(client, b"hello\n") == b"hello\n"
    await client.aclose()
    await server.aclose()


async def test_openssls_own_client(serving, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with serving(shout, tls=server_context()) as server:
        command = [
            *("openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", str(tmp_path / "ca.pem")),
            *("-verify_hostname", "localhost", "-connect", f"127.0.0.1:{server.addresses[0].port}"),
        ]
        process = await trio.lowlevel.open_process(command, stdin=-1, stdout=-1, stderr=-1)
        async with process.stdin, process.stdout, process.stderr:
            await process.stdin.send_all(b"from openssl\n")
            assert await process.stdout.receive_some() == b"FROM OPENSSL\n"
            process.terminate()
            await process.wait()


async def test_a_cancelled_send_under_tls_is_reported_by_the_next():
    server, client = (Connection(one) for one in socket_pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.start_tls, server_context())
        await client.start_tls(client_context(), server_side=False, server_hostname="localhost")
    await send_in_part(server, 5_000_000)
    with pytest.raises(trio.BrokenResourceError, match="an earlier send_all"):
        await server.send_all(b"more")
    await server.aclose()
    await client.aclose()


@pytest.mark.parametrize(
    ("group", "told"), [(lambda: "X25519", "X25519"), (lambda: None, None), (None, None), ("old", None)]
)
async def test_the_group_is_told_where_the_module_can_tell_it(serving, monkeypatch, group, told):
    # From 3.15 on; what raises NotImplementedError was built with an OpenSSL before 3.2.
    def not_there(self):
        raise NotImplementedError

    monkeypatch.delattr(ssl.SSLSocket, "group", raising=False)
    if group is not None:
        answer = not_there if group == "old" else lambda self: group()
        monkeypatch.setattr(ssl.SSLSocket, "group", answer, raising=False)
    seen = []

    async def handler(conn):
        seen.append(conn.tls.group)

    await serve_one(serving, handler)
    assert seen == [told]
