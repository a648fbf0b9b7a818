"""What a server knows of a TLS client: the name that it asked for, and whether its end was a proper one."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trio
import trio.testing

from tests.pairs import socket_pair
from tests.tls import client_context, hears, resume, server_context
from triosock import Connection
from triosock.testing import open_server


async def tell_name(conn: Connection) -> None:
    assert conn.tls is not None
    await conn.send_all(str(conn.tls.server_name).encode())


def lenient() -> ssl.SSLContext:
    """A client that asks for any name, and checks none."""
    context = client_context()
    context.check_hostname = False
    return context


async def asked(stream: trio.abc.Stream, name: str | None) -> bytes:
    return await hears(stream, lenient(), name)


@pytest.mark.parametrize("name", ["one.example", "xn--bcher-kva.example", None])
async def test_the_name_that_a_client_asked_for_is_known(name: str | None, serving: Any, dial: Any) -> None:
    async with serving(tell_name, tls=server_context()) as server:
        assert await asked(await dial(server), name) == str(name).encode()


async def test_it_is_known_over_any_stream_and_for_two_clients_at_once() -> None:
    async with open_server(tell_name, tls=server_context()) as served:
        answers = {}

        async def ask(name: str) -> None:
            answers[name] = await asked((await served.connect()).transport, name)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(ask, f"{number}.example")
        assert answers == {f"{number}.example": f"{number}.example".encode() for number in range(5)}


async def test_a_callback_of_the_users_goes_on_to_decide(serving: Any, dial: Any) -> None:
    context, other, seen = server_context(), server_context(alpn=("x",)), []

    def choose(connection: Any, name: str | None, given: ssl.SSLContext) -> int | None:
        seen.append((name, given is context))
        if name == "forbidden.example":
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = other
        return None

    context.sni_callback = choose
    async with serving(tell_name, tls=context) as server:
        assert await asked(await dial(server), "one.example") == b"one.example"
        with pytest.raises(trio.BrokenResourceError):
            await asked(await dial(server), "forbidden.example")
        # One that is set later is put in, too.
        context.sni_callback = lambda *of: seen.append("later")  # type: ignore[assignment,func-returns-value]
        assert await asked(await dial(server), "two.example") == b"two.example"
    assert seen == [("one.example", True), ("forbidden.example", True), "later"]


async def test_a_context_may_serve_several_servers_and_others_besides(serving: Any, dial: Any) -> None:
    context = server_context()
    async with serving(tell_name, tls=context) as one, serving(tell_name, tls=context) as other:
        for server in (one, other, one):
            assert await asked(await dial(server), "one.example") == b"one.example"
    ours, theirs = (Connection(sock) for sock in socket_pair())
    server_side = trio.SSLStream(ours, context, server_side=True)
    client_side = trio.SSLStream(theirs, lenient(), server_hostname="three.example")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server_side.do_handshake)
        nursery.start_soon(client_side.do_handshake)
    await trio.aclose_forcefully(server_side)
    await trio.aclose_forcefully(client_side)


@pytest.mark.parametrize("https", [False, True])
async def test_a_peer_without_close_notify_is_broken_or_has_ended(https: bool, linked: Any) -> None:
    heard: list[object] = []
    done = trio.Event()

    async def listen(conn: Connection) -> None:
        try:
            heard.append([line async for line in conn.lines()])
        except trio.BrokenResourceError:
            heard.append("broken")
        finally:
            done.set()

    async with linked(listen, tls=server_context(), tls_https_compatible=https) as (_, stream):
        client = trio.SSLStream(stream, client_context(), server_hostname="localhost")
        await client.send_all(b"hello\n")
        await stream.send_eof()  # without a close_notify
        await done.wait()
    assert heard == [[b"hello\n"] if https else "broken"]


async def test_a_connection_says_whether_it_can_end_in_one_direction(serving: Any, dial: Any) -> None:
    answers: list[bool] = []

    async def note(conn: Connection) -> None:
        answers.append(conn.can_send_eof)

    async with serving(note) as plain, serving(note, tls=server_context()) as secret:
        client = await dial(plain)
        assert await client.receive_some() == b""
        await client.aclose()
        assert await hears(await dial(secret), client_context()) == b""
    assert answers == [True, False]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_it_is_known_when_a_session_is_resumed(version: ssl.TLSVersion, serving: Any) -> None:
    async def greet(conn: Connection) -> None:
        await conn.receive_some()
        await tell_name(conn)

    context = lenient()
    context.maximum_version = version

    async with serving(greet, tls=server_context()) as server:
        port = server.addresses[0].port
        name, _, session = await trio.to_thread.run_sync(resume, port, context, None)
        again, was_resumed, _ = await trio.to_thread.run_sync(resume, port, context, session)
    assert was_resumed
    assert (name, again) == (b"one.example", b"one.example")


async def test_a_callback_of_the_older_kind_is_called_too(serving: Any, dial: Any) -> None:
    context, seen = server_context(), []
    context.set_servername_callback(lambda connection, name, given: seen.append(name))
    async with serving(tell_name, tls=context) as server:
        for _ in range(3):
            assert await asked(await dial(server), "one.example") == b"one.example"
    assert seen == ["one.example"] * 3  # once for each, however often ours was put around it
