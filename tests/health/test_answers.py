"""/live and /ready: what they say of the servers of a run, and that they say it as long as they are open."""

from __future__ import annotations

import errno
import socket
import sys
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import read_all, shout
from tests.waiting import until
from triosock import (
    AdaptiveLimit,
    AddressUnavailable,
    Connection,
    DrainScope,
    Limits,
    Rate,
    open_health,
    serve_health,
)
from triosock.testing import MemoryListener, no_leaks


async def get(server: Any, path: str = "/ready", method: str = "GET") -> tuple[int, str]:
    """Ask as a probe does; return the status and the text."""
    address = server.addresses[0]
    if isinstance(address, triosock.UnixAddress):
        stream: Any = await trio.open_unix_socket(address.path)
    else:
        stream = await trio.open_tcp_stream(address.host, address.port)
    async with stream:
        await stream.send_all(f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode().strip()


async def stay(conn: Connection) -> None:
    await conn.send_all(b"hello\n")
    await conn.receive_some()


async def started(nursery: trio.Nursery, handler: Any = shout, **options: Any) -> triosock.StreamServer:
    serve = partial(triosock.serve_tcp, handler, 0, host="127.0.0.1", **{"name": "web", **options})
    server: triosock.StreamServer = await nursery.start(serve)
    return server


async def greeted(server: triosock.StreamServer) -> trio.SocketStream:
    """A client of a server that lets it `stay`."""
    client = await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)
    assert await client.receive_some() == b"hello\n"
    return client


async def test_ready_is_who_serves_and_live_is_who_answers() -> None:
    async with open_health("tcp://127.0.0.1:0") as health:
        assert await get(health) == (503, "no server is serving")
        assert await get(health, "/live") == (200, "live")
        async with trio.open_nursery() as nursery:
            await started(nursery)
            assert await get(health) == (200, "ready")
            assert await get(health, "/ready?verbose=1") == (200, "ready")
            nursery.cancel_scope.cancel()
        assert await get(health) == (503, "no server is serving")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("HTTP://a:80/live?x=1", 200),
        ("/live?of=http://a/ready", 200),
        ("http://a", 404),
        ("ftp://a/live", 404),
    ],
)
async def test_a_target_with_the_host_in_it_is_accepted_too(target: str, status: int) -> None:
    async with open_health("tcp://127.0.0.1:0") as health:
        assert (await get(health, target))[0] == status


async def test_a_drain_says_so_from_its_announcement_to_its_end() -> None:
    async with open_health("tcp://127.0.0.1:0") as health, trio.open_nursery() as nursery:
        server = await started(nursery, stay)
        client = await greeted(server)
        server.drain(delay=60, grace=60)
        assert await get(health) == (503, "web: draining")
        # The delay is for taking clients elsewhere: it serves as before.
        await (await greeted(server)).aclose()
        server.drain(delay=0)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await get(health) == (503, "web: draining")
        assert await get(health, "/live") == (200, "live")
        await client.aclose()
        await server.wait_closed()
        assert await get(health) == (503, "no server is serving")


async def test_suspended_and_full_servers_are_not_ready() -> None:
    async with open_health("tcp://127.0.0.1:0") as health, trio.open_nursery() as nursery:
        server = await started(nursery, stay, limits=Limits(max_connections=1))
        server.suspend()
        assert await get(health) == (503, "web: suspended")
        server.resume()
        assert await get(health) == (200, "ready")
        client = await greeted(server)
        assert await get(health) == (503, "web: full")
        await client.aclose()
        await until(lambda: not server.statistics().active)
        assert await get(health) == (200, "ready")
        nursery.cancel_scope.cancel()


async def test_full_by_an_adaptive_limit_is_full_and_a_rate_is_not() -> None:
    limits = Limits(adaptive=AdaptiveLimit(min_connections=1), overflow="reject")
    async with open_health("tcp://127.0.0.1:0") as health, trio.open_nursery() as nursery:
        server = await started(nursery, stay, limits=limits)
        client = await greeted(server)
        assert await get(health) == (503, "web: full")
        await client.aclose()
        await until(lambda: not server.statistics().active)
        strict = await started(nursery, stay, limits=Limits(rate=Rate(1, per=60), overflow="reject"))
        await (await greeted(strict)).aclose()
        await until(lambda: not strict.statistics().active)
        assert await get(health) == (200, "ready")
        nursery.cancel_scope.cancel()


async def test_of_several_servers_each_must_be_ready() -> None:
    async with open_health("tcp://127.0.0.1:0") as health, trio.open_nursery() as nursery:
        await started(nursery, name="web")
        other = await started(nursery, name="admin")
        dns = await nursery.start(partial(triosock.serve_udp, stay, 0, host="127.0.0.1", name="dns"))
        assert await get(health) == (200, "ready")
        other.suspend()
        dns.suspend()
        status, text = await get(health)
        assert (status, sorted(text.splitlines())) == (503, ["admin: suspended", "dns: suspended"])
        nursery.cancel_scope.cancel()


async def test_it_answers_in_a_drain_of_the_scope_that_it_was_opened_in() -> None:
    with DrainScope() as scope:
        async with open_health("tcp://127.0.0.1:0") as health, trio.open_nursery() as nursery:
            server = await started(nursery, stay)
            client = await greeted(server)
            scope.drain(grace=60)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert await get(health) == (503, "web: draining")
            await client.aclose()
        with pytest.raises(OSError, match=r".*"):
            await get(health)


async def test_as_a_task_it_ends_with_the_last_server_of_the_scope_around() -> None:
    with trio.fail_after(60), DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            health = await nursery.start(serve_health, "tcp://127.0.0.1:0")
            server = await started(nursery, stay)
            client = await greeted(server)
            scope.drain(delay=0.1, grace=60)
            await trio.sleep(0.2)
            assert await get(health) == (503, "web: draining")
            await client.aclose()


async def test_as_a_task_without_a_scope_it_ends_when_it_is_cancelled() -> None:
    async with trio.open_nursery() as nursery:
        health = await nursery.start(serve_health, "tcp://127.0.0.1:0")
        assert await get(health, "/live") == (200, "live")
        nursery.cancel_scope.cancel()
    with pytest.raises(OSError, match=r".*"):
        await get(health)


async def test_a_port_in_use_is_a_clear_error_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressUnavailable, match=str(port)) as caught:
            async with open_health(f"tcp://127.0.0.1:{port}"):
                raise AssertionError("it cannot listen there")
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("endpoint", "error", "words"),
    [
        ("udp://127.0.0.1:1", ValueError, "a health endpoint is tcp://HOST:PORT or unix:///PATH"),
        ("127.0.0.1:1", ValueError, "must begin with tcp://"),
        (8081, TypeError, "a health endpoint is tcp://HOST:PORT or unix:///PATH, not 8081"),
    ],
)
async def test_what_is_no_endpoint_is_said_to_be_none(endpoint: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        async with open_health(endpoint):
            raise AssertionError("it cannot listen there")


async def test_a_unix_socket_has_its_mode_and_goes(tmp_path: Any) -> None:
    path = tmp_path / "health"
    async with open_health(f"unix://{path}", mode=0o660) as health:
        assert path.stat().st_mode & 0o777 == 0o660
        assert (await get(health, "/live"))[0] == 200
    assert not path.exists()


async def test_a_listener_of_ones_own_is_answered_at_and_closed() -> None:
    listener = MemoryListener()
    async with open_health(listener):
        client = Connection(await listener.connect())
        await client.send_all(b"GET /live HTTP/1.0\r\n\r\n")
        assert (await read_all(client)).endswith(b"\r\n\r\nlive\n")
        await client.aclose()
    assert listener.is_closed


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    with no_leaks():
        with pytest.raises(KeyError, match="mine"):
            async with open_health("tcp://127.0.0.1:0"):
                raise KeyError("mine")


async def test_without_h11_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(ImportError, match=r"health needs h11: python -m pip install 'h11>=0\.14'"):
        async with open_health("tcp://127.0.0.1:0"):
            raise AssertionError("it cannot answer")
