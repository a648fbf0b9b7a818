"""The recipes do what their pages say."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import trio
import trustme

from tests.handlers import ask_line
from tests.servers import connected
from tests.tls import trusting
from triosock import Connection, Timeouts
from triosock.testing import open_server


async def test_keepalive_is_set_on_the_connection(load: Any, serving: Any, dial: Any) -> None:
    recipe = load("keepalive")
    asked: list[int] = []

    async def look(conn: Connection) -> None:
        recipe.keep_alive(conn, idle=50)
        sock: Any = conn.transport
        asked.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        asked.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))

    async with serving(look) as server, await dial(server) as client:
        assert await client.receive_some() == b""
    assert asked == [1, 50]


async def test_each_name_has_its_certificate(load: Any, serving: Any, dial: Any) -> None:
    recipe = load("sni")
    authority, contexts = trustme.CA(), {}
    for name in ("one.example", "two.example"):
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(contexts[name])
    theirs = trusting(authority)
    default = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("default.example").configure_cert(default)
    async with serving(recipe.tell, tls=recipe.choose(contexts, default)) as server:
        for name in (*contexts, "default.example"):
            # The handshake checks that the certificate is that of the name.
            client = trio.SSLStream(await dial(server), theirs, server_hostname=name)
            assert await client.receive_some() == f"you asked for {name}\n".encode()
            await trio.aclose_forcefully(client)


async def test_a_long_poll_ends_with_its_client_and_tells_the_news(load: Any) -> None:
    recipe = load("longpoll")
    recipe.news = trio.Event()
    async with open_server(recipe.poll) as served:
        leaves, stays = await served.connect(), await served.connect()
        for client in (leaves, stays):
            await client.send_all(b"poll\n")
        await leaves.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert served.server.statistics().active == 1
        recipe.news.set()
        assert await stays.receive_until(b"\n") == b"news\n"


async def test_the_last_answer_says_so(load: Any, autojump_clock: Any) -> None:
    async with connected(load("last_request").answer, timeouts=Timeouts(idle_grace=3)) as (served, client):
        assert await ask_line(client, b"a\n") == b"A\n"
        served.server.drain()
        await trio.sleep(1)
        await client.send_all(b"b\n")
        assert await client.receive_exactly(2) == b"B\n"
        assert await client.receive_until(b"\n") == b"* closing, go elsewhere\n"
        assert await client.receive_some() == b""


async def test_a_function_answers_what_handlers_could_not(load: Any, autojump_clock: Any) -> None:
    async def handler(conn: Connection) -> None:
        async for line in conn.lines(max_bytes=10):
            if line == b"slow\n":
                await trio.sleep_forever()
            raise ValueError("planned")

    options: dict[str, Any] = {"on_error": load("apologize").apologize, "timeouts": Timeouts(request=1)}
    async with open_server(handler, **options) as served:
        for said, answer in ((b"x" * 20, b"413"), (b"slow\n", b"408"), (b"?\n", b"500")):
            client = await served.connect()
            await client.send_all(said)
            assert (await client.receive_until(b"\n")).startswith(answer)


async def test_a_failed_assertion_of_a_handler_can_fail_the_test() -> None:
    async def handler(conn: Connection) -> None:
        assert await conn.receive_some() == b"expected"

    with pytest.raises(ExceptionGroup) as caught:
        async with connected(handler, on_error="raise") as (_, client):
            await client.send_all(b"something else")
            await client.receive_some()
    assert caught.value.subgroup(AssertionError) is not None
    assert caught.value.split(AssertionError)[1] is None
