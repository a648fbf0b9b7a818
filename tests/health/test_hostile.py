"""Who asks for health is nobody known: garbage, floods and slow clients are answered or cut, and cheap."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import h11
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.handlers import read_all
from tests.waiting import takes
from triosock import Connection, TcpAddress, open_health
from triosock.observe.health import LIMITS, MAX_HEAD, TIMEOUTS
from triosock.testing import MemoryListener


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[Any]:
    listener = MemoryListener()
    async with open_health(listener), contextlib.AsyncExitStack() as clients:

        async def connect(number: int = 0) -> Connection:
            peer = TcpAddress(f"10.0.0.{number}", 1)
            return await clients.enter_async_context(Connection(await listener.connect(peer=peer)))

        yield connect


def parsed(answer: bytes, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    """Return status, headers and body, by a client of h11, which takes nothing that is not HTTP."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    head, body = client.next_event(), b""
    assert isinstance(head, h11.Response)
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += event.data
    return head.status_code, dict(head.headers), body


async def ask(connect: Any, said: bytes, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    client = await connect()
    await client.send_all(said)
    return parsed(await read_all(client), method)


def head_of(size: int) -> bytes:
    """Return a request of so many bytes."""
    head = b"GET /live HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n"
    return head % (b"x" * (size - len(head % b"")))


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /live HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /live/../ready HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"GET /live HTTP/1.1\r\n\r\n", 400),  # RFC 9112, 3.2: a Host is a must
        (b"GET /live FTP/1.0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /live HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2 * MAX_HEAD + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 3 * MAX_HEAD, 431),
        (head_of(MAX_HEAD), 200),
        (head_of(MAX_HEAD + 1), 431),
        (b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n" * 3, 200),
    ],
)
async def test_each_request_has_one_answer_and_the_end(said: bytes, status: int, autojump_clock: Any) -> None:
    async with answering() as connect:
        answered, headers, body = await ask(connect, said)
        assert answered == status
        assert headers[b"connection"] == b"close"
        assert headers[b"cache-control"] == b"no-store"
        assert body.endswith(b"\n")
        assert (headers.get(b"allow") == b"GET, HEAD") is (status == 405)


async def test_a_head_that_comes_in_two_parts_is_too_long_as_well(autojump_clock: Any) -> None:
    async with answering() as connect:
        client, head = await connect(), head_of(MAX_HEAD + 1)
        await client.send_all(head[: MAX_HEAD // 2])
        await trio.testing.wait_all_tasks_blocked()
        await client.send_all(head[MAX_HEAD // 2 :])
        assert parsed(await read_all(client))[0] == 431


async def test_head_has_no_body(autojump_clock: Any) -> None:
    async with answering() as connect:
        status, headers, body = await ask(connect, b"HEAD /live HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD")
        assert (status, headers[b"content-length"], body) == (200, b"5", b"")


@pytest.mark.parametrize("said", [b"", b"GET /live HT"])
async def test_who_is_silent_is_cut(said: bytes, autojump_clock: Any) -> None:
    async with answering() as connect:
        client = await connect()
        with takes(5, abs=0.5), contextlib.suppress(trio.BrokenResourceError):
            if said:
                await client.send_all(said)
            assert await read_all(client) == b""


async def test_who_speaks_byte_by_byte_has_as_long_as_anybody(autojump_clock: Any) -> None:
    async with answering() as connect:
        client, began = await connect(), trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            for byte in b"GET /live HTTP/1.1\r\n" * 100:
                await client.send_all(bytes([byte]))
                await trio.sleep(1)
        assert trio.current_time() - began < TIMEOUTS.request + 2


async def test_one_peer_cannot_keep_the_others_from_asking(autojump_clock: Any) -> None:
    async with answering() as connect:
        silent = [await connect(1) for _ in range(100)]
        assert (await ask(connect, b"GET /live HTTP/1.0\r\n\r\n"))[0] == 200
        await trio.testing.wait_all_tasks_blocked()
        refused = 0
        for client in silent:
            with trio.move_on_after(0.001):
                refused += await client.receive_some() == b""
        assert refused == 100 - LIMITS.max_connections_per_peer


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_whatever_is_said_the_answer_is_http_or_none(said: bytes) -> None:
    async def main() -> None:
        async with answering() as connect:
            client = await connect()
            if said:
                await client.send_all(said)
            await client.send_eof()
            answer = await read_all(client)
            if answer:
                assert parsed(answer)[0] in (200, 400, 404, 405, 431, 501)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
