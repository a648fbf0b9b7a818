"""Half an answer does not look like a whole one: how the connection ends of a handler that did not come to
its end.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import echo_bytes, read_all, read_to_reset, send_in_part, slow_line, wait_forever
from tests.programs import dial as blocking_dial
from tests.servers import connected, running
from tests.tls import client_context, server_context
from tests.waiting import PATIENCE, until_arrived, until_served
from triosock import Connection
from triosock.testing import open_server

pytestmark = pytest.mark.usefixtures("no_leaks")


async def half(conn: Connection) -> None:
    await conn.receive_some()
    await conn.send_all(b"half an ans")
    raise ValueError("planned")


async def test_a_failed_handler_ends_with_a_reset(linked: Any) -> None:
    async with linked(half) as (_, client):
        await client.send_all(b"x")
        assert await read_to_reset(client) in (b"half an ans", b"")


async def test_under_tls_a_failed_handler_sends_no_close_notify(linked: Any) -> None:
    async with linked(half, tls=server_context()) as (_, inner):
        client = trio.SSLStream(inner, client_context(), server_hostname="localhost", https_compatible=False)
        await client.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await read_all(client)
        await trio.aclose_forcefully(client)


async def test_who_is_cut_in_the_middle_of_a_request_is_reset_and_who_is_idle_is_not(
    autojump_clock: Any,
) -> None:
    async with open_server(slow_line) as served:
        busy, idle = await served.connect(), await served.connect()
        await busy.send_all(b"x\n")
        await trio.sleep(6)
        served.server.drain(grace=1)
        assert await read_to_reset(busy) == b""
        assert await read_all(idle) == b""


async def test_an_on_error_function_that_returns_ends_the_stream_without_a_reset(autojump_clock: Any) -> None:
    async def nothing(error: Exception, conn: Connection) -> None:
        """Says nothing, and by that: this is all."""

    async with connected(half, on_error=nothing) as (_, client):
        await client.send_all(b"x")
        assert await read_all(client) == b"half an ans"


# Cut without a mark of what is a request: by what was said last


async def half_and_work(conn: Connection) -> None:
    await conn.receive_some()
    await conn.send_all(b"half an ans")
    await trio.sleep_forever()


async def greet(conn: Connection) -> None:
    await conn.send_all(b"hello")
    await conn.receive_exactly(100)


async def owe(conn: Connection) -> None:
    await conn.receive_some()
    await trio.sleep_forever()


async def wait_and_work(conn: Connection) -> None:
    with trio.move_on_after(0.01):
        await conn.receive_exactly(100)
    await conn.send_all(b"half an ans")
    await trio.sleep_forever()


CUT = [
    (half_and_work, b"half an ans", True),
    (owe, b"", True),
    (wait_and_work, b"half an ans", True),
    (echo_bytes, b"x", False),  # who waits for the peer has said what was to be said
    (greet, b"hello", False),
    (wait_forever, b"", False),  # nothing was said at all: the byte is still unread, and takes nothing along
]


@pytest.mark.parametrize(("handler", "answer", "is_reset"), CUT)
@pytest.mark.parametrize("how", ["drain", "parent"])
async def test_who_is_cut_after_it_has_spoken_and_before_it_waits_is_reset(
    handler: Any, answer: bytes, is_reset: bool, how: str, linked: Any
) -> None:
    with trio.CancelScope() as parent:
        async with linked(handler) as (server, client):
            if handler is not wait_forever:
                await client.send_all(b"x")
            with trio.CancelScope(shield=True):
                if answer:
                    assert await client.receive_some() == answer
                await until_served(server)
                if handler is owe:
                    await until_arrived(lambda: server.statistics().received == 1)
                if how == "drain":
                    server.drain(grace=0)
                else:
                    parent.cancel()
                assert await (read_to_reset if is_reset else read_all)(client) == b""
                await client.aclose()


async def test_who_has_sent_no_more_than_a_proxy_header_is_not_reset(linked: Any) -> None:
    header = b"PROXY UNKNOWN\r\n"
    async with linked(wait_forever, proxy=True) as (server, client):
        await client.send_all(header)
        await until_arrived(lambda: server.statistics().received == len(header))
        await trio.testing.wait_all_tasks_blocked()
        server.drain(grace=0)
        assert await read_all(client) == b""
        await client.aclose()


async def test_half_an_answer_that_its_handler_gave_up_ends_with_a_reset(serving: Any, dial: Any) -> None:
    gave_up = trio.Event()

    async def handler(conn: Connection) -> None:
        await send_in_part(conn, 20_000_000)
        gave_up.set()

    async with serving(handler) as server, await dial(server) as client:
        with trio.fail_after(PATIENCE):
            await gave_up.wait()
            await read_to_reset(client)


@pytest.mark.parametrize("whole", [True, False])
async def test_half_a_message_of_another_task_ends_with_a_reset(linked: Any, whole: bool) -> None:
    """As in a chat, where the handlers of others send; the message that the handler leaves behind is lost."""
    raised: list[type[Exception]] = []
    returned = trio.Event()

    async def send(conn: Connection) -> None:
        try:
            await conn.send_all(b"x" * (10 if whole else 20_000_000))
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            raised.append(type(error))

    async with trio.open_nursery() as others:

        async def handler(conn: Connection) -> None:
            others.start_soon(send, conn)
            await trio.testing.wait_all_tasks_blocked()
            returned.set()

        async with linked(handler) as (_, client):
            with trio.fail_after(PATIENCE):
                await returned.wait()
                if whole:
                    assert await read_all(client) == b"x" * 10
                else:
                    await read_to_reset(client)
                await client.aclose()
    assert raised == ([] if whole else [trio.ClosedResourceError])


async def test_a_file_that_was_sent_in_part_is_remembered(serving: Any, dial: Any) -> None:
    """Under TLS the file is read piece by piece, and the cancellation may come between two of them."""

    class File:
        reads = 0

        def read(self, size: int) -> bytes:
            self.reads += 1
            if self.reads == 2:
                trio.from_thread.run_sync(scope.cancel)
            return bytes(1000)

    async def handler(conn: Connection) -> None:
        await conn.receive_some()
        file: Any = File()
        with scope:
            await conn.send_file(file)
        with pytest.raises(trio.BrokenResourceError, match="an earlier send_file ended after 1000 bytes"):
            await conn.send_all(b"something else")
        done.set()

    scope, done = trio.CancelScope(), trio.Event()
    async with serving(handler, tls=server_context(), on_error="raise") as server:
        client = trio.SSLStream(await dial(server), client_context(), server_hostname="localhost")
        await client.send_all(b"x")
        await done.wait()
        await trio.aclose_forcefully(client)


# An answer in place of the handler's arrives, whatever the peer still sends


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
async def test_a_413_arrives_though_the_peer_goes_on_sending(kind: str, path: Path, serving: Any) -> None:
    async def too_large(conn: Connection) -> None:
        await conn.receive_until(b"\r\n\r\n", max_bytes=1000)

    async def answer(error: Exception, conn: Connection) -> None:
        await conn.send_all(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n")

    def ask(address: int | Path) -> bytes:
        with blocking_dial(address) as client:
            if kind == "tls":
                client.sock = client_context().wrap_socket(client.sock, server_hostname="localhost")
            with contextlib.suppress(BrokenPipeError):  # a client that does not look until it has sent all
                for _ in range(64):
                    client.say(bytes(65_536))
            return client.rest()

    options = {"on_error": answer, "tls": server_context() if kind == "tls" else None}
    if kind == "unix":
        starting = running(triosock.serve_unix, too_large, path, **options)
    else:
        starting = serving(too_large, **options)
    async with starting as server:
        received = await trio.to_thread.run_sync(ask, path if kind == "unix" else server.addresses[0].port)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert received.endswith(b"\r\n\r\n")


async def test_a_file_that_was_sent_in_part_is_not_forgotten_though_another_task_ends_its_send(
    both: Any, nursery: trio.Nursery
) -> None:
    one, other = both
    nursery.start_soon(one.send_all, bytes(20_000_000))
    await trio.testing.wait_all_tasks_blocked()
    one.wire.break_off("a file was sent in part")  # as send_file does if another task is in its way
    with trio.fail_after(PATIENCE):
        await other.receive_exactly(20_000_000)
    await trio.testing.wait_all_tasks_blocked()
    assert one.wire.is_broken_off
    with pytest.raises(trio.BrokenResourceError, match="a file was sent in part"):
        await one.send_all(b"more")
