"""Rates of connections: in total, per peer, per network, and behind a proxy."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio
import trio.testing

from tests.handlers import read_all, read_once
from tests.servers import running
from tests.waiting import until_served
from triosock import Cause, Connection, Limits, Rate, TcpAddress, events, serve_unix
from triosock._core.registry.shedding import FIRST_BATCH
from triosock.testing import Recorder, open_server

NEAR, ALSO_NEAR, FAR = (TcpAddress(host, 1000) for host in ("10.0.0.1", "10.0.0.2", "10.1.0.1"))


async def hello(conn: Connection) -> None:
    await conn.send_all(b"hello\n")


async def ask(served: Any, peer: TcpAddress = NEAR, said: bytes = b"") -> bytes:
    client = await served.connect(peer=peer)
    try:
        if said:
            await client.send_all(said)
        return await read_all(client)
    finally:
        await client.aclose()


async def test_a_peer_that_comes_too_often_is_refused_and_others_are_not(autojump_clock: Any) -> None:
    recorder = Recorder(events.Refused)
    limits = Limits(rate_per_peer=Rate(1, per=10, burst=3))
    async with open_server(hello, limits=limits, observers=[recorder]) as served:
        assert [await ask(served) for _ in range(5)] == [b"hello\n"] * 3 + [b""] * 2
        assert await ask(served, ALSO_NEAR) == b"hello\n"
        assert served.server.statistics().refused == {"rate_per_peer": 2}
        assert {(one.reason, one.peer) for one in recorder.of(events.Refused)} == {("rate_per_peer", NEAR)}
        await trio.sleep(10)
        assert [await ask(served) for _ in range(2)] == [b"hello\n", b""]
        await trio.sleep(1000)
        assert [await ask(served) for _ in range(4)] == [b"hello\n"] * 3 + [b""]


async def test_a_network_that_comes_too_often_is_refused(autojump_clock: Any) -> None:
    limits = Limits(rate_per_network=Rate(1, per=10, burst=2))
    async with open_server(hello, limits=limits) as served:
        answers = [await ask(served, peer) for peer in (NEAR, ALSO_NEAR, NEAR, FAR)]
        assert answers == [b"hello\n", b"hello\n", b"", b"hello\n"]
        assert served.server.statistics().refused == {"rate_per_network": 1}


async def test_who_comes_too_often_may_be_told_so(autojump_clock: Any) -> None:
    async def slowly(conn: Connection) -> None:
        await conn.send_all(b"slowly\n")

    limits = Limits(rate_per_peer=Rate(1, per=10, burst=1), overflow=slowly)
    async with open_server(hello, limits=limits) as served:
        assert [await ask(served) for _ in range(2)] == [b"hello\n", b"slowly\n"]
        await trio.testing.wait_all_tasks_blocked()
        assert served.server.statistics().ended == {Cause.FINISHED: 1, Cause.OVERFLOW: 1}


@pytest.mark.parametrize("overflow", ["reject", hello])
async def test_the_rate_of_all_refuses_if_those_too_many_do_not_wait(
    autojump_clock: Any, overflow: Any
) -> None:
    async def served_in_turn(conn: Connection) -> None:
        await conn.send_all(b"in turn\n")

    limits = Limits(rate=Rate(1, per=10, burst=2), overflow=overflow)
    async with open_server(served_in_turn, limits=limits) as served:
        answers = [await ask(served, peer) for peer in (NEAR, FAR, ALSO_NEAR)]
        assert answers == [b"in turn\n", b"in turn\n", b"" if overflow == "reject" else b"hello\n"]
        assert served.server.statistics().refused == {"rate": 1}


async def test_the_rate_of_all_leaves_the_others_in_the_queue_in_order(autojump_clock: Any) -> None:
    recorder = Recorder(events.RateReached)
    times: list[tuple[float, int]] = []
    began = trio.current_time()

    async def note(conn: Connection) -> None:
        assert isinstance(conn.peer, TcpAddress)
        times.append((round(trio.current_time() - began, 2), conn.peer.port))

    limits = Limits(rate=Rate(1, per=2, burst=2))
    async with open_server(note, limits=limits, observers=[recorder]) as served:
        for port in range(1, 6):
            await served.connect(peer=TcpAddress("10.0.0.1", port))
        await trio.sleep(20)
        # Handlers that begin in one moment do so in any order.
        assert sorted(times) == [(0, 1), (0, 2), (2, 3), (4, 4), (6, 5)]
        assert served.server.statistics().refused == {}
        (told,) = recorder.of(events.RateReached)
        assert (told.limit, told.peer, told.delay) == ("rate", None, pytest.approx(2))
        for port in range(6, 9):
            await served.connect(peer=TcpAddress("10.0.0.1", port))
        await trio.sleep(20)
        assert len(recorder.of(events.RateReached)) == 2, "one did not have to wait in between"


async def test_to_wait_for_ones_turn_is_no_lag(autojump_clock: Any) -> None:
    limits = Limits(rate=Rate(1, per=10, burst=FIRST_BATCH), max_lag=0.2)
    async with open_server(hello, limits=limits) as served:
        served.server.suspend()
        clients = [await served.connect() for _ in range(FIRST_BATCH + 3)]
        served.server.resume()
        await trio.sleep(5)
        assert served.server.statistics().accepted == FIRST_BATCH
        assert served.server.lag < 0.2
        await trio.sleep(40)
        assert [await read_all(client) for client in clients] == [b"hello\n"] * (FIRST_BATCH + 3)
        assert served.server.statistics().refused == {}


async def test_several_listeners_share_the_rate_of_all(serving: Any, dial: Any) -> None:
    async with serving(read_once, host=None, limits=Limits(rate=Rate(1, per=1000, burst=3))) as server:
        hosts = ["127.0.0.1", "::1", "127.0.0.1", "::1", "127.0.0.1"]
        streams = [await trio.open_tcp_stream(host, server.addresses[0].port) for host in hosts]
        await until_served(server, 3)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().active == 3
        for stream in streams:
            await stream.aclose()


async def test_a_drain_serves_who_waits_for_the_rate_of_all(autojump_clock: Any) -> None:
    async with open_server(hello, limits=Limits(rate=Rate(1, per=1000, burst=1))) as served:
        clients = [await served.connect() for _ in range(3)]
        await trio.sleep(1)
        served.server.drain()
        assert [await read_all(client) for client in clients] == [b"hello\n"] * 3


async def test_suspended_while_the_rate_makes_it_wait_nobody_is_taken(autojump_clock: Any) -> None:
    async with open_server(hello, limits=Limits(rate=Rate(1, per=10, burst=1))) as served:
        for _ in range(2):
            await served.connect()
        await trio.sleep(1)
        served.server.suspend()
        await trio.sleep(100)
        assert served.server.statistics().accepted == 1
        served.server.resume()
        await trio.sleep(1)
        assert served.server.statistics().accepted == 2


def head(client: str) -> bytes:
    return f"PROXY TCP4 {client} 10.0.0.1 5000 443\r\n".encode()


async def test_behind_a_proxy_it_is_the_client_whose_rate_counts(autojump_clock: Any) -> None:
    recorder = Recorder(events.Refused)
    limits = Limits(rate_per_peer=Rate(1, per=10, burst=2))
    near = TcpAddress("127.0.0.1", 1000)
    async with open_server(hello, proxy=True, limits=limits, observers=[recorder]) as served:
        for client in range(5):
            assert await ask(served, near, head(f"203.0.113.{client}")) == b"hello\n"
        answers = [await ask(served, near, head("203.0.113.0")) for _ in range(2)]
        assert answers == [b"hello\n", b""]
        assert served.server.statistics().refused == {"rate_per_peer": 1}
        (refused,) = recorder.of(events.Refused)
        assert str(refused.peer) == "tcp://203.0.113.0:5000"
        served.server._registry.check()


async def test_refused_by_the_limit_of_those_at_once_takes_nothing_of_the_rate(autojump_clock: Any) -> None:
    async def stay(conn: Connection) -> None:
        await conn.send_all(b"hello\n")
        await conn.receive_some()

    limits = Limits(max_connections_per_peer=1, rate_per_peer=Rate(1, per=1000, burst=2))
    async with open_server(stay, limits=limits) as served:
        first = await served.connect(peer=NEAR)
        assert await first.receive_until(b"\n") == b"hello\n"
        assert [await ask(served) for _ in range(3)] == [b""] * 3
        await first.aclose()
        await trio.sleep(1)
        second = await served.connect(peer=NEAR)
        assert await second.receive_until(b"\n") == b"hello\n"
        assert served.server.statistics().refused == {"peer": 3}


async def test_the_clock_of_the_wall_may_jump(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_server(hello, limits=Limits(rate_per_peer=Rate(1, per=10, burst=1))) as served:
        assert await ask(served) == b"hello\n"
        for wall in (0.0, 4e9):
            monkeypatch.setattr(time, "time", lambda wall=wall: wall)
            assert await ask(served) == b""
        await trio.sleep(10)
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert await ask(served) == b"hello\n"


async def test_users_of_a_unix_socket_are_told_apart_by_their_id(tmp_path: Any) -> None:
    path, limits = tmp_path / "socket", Limits(rate_per_peer=Rate(1, per=1000, burst=1))
    async with running(serve_unix, hello, path, limits=limits) as server:
        answers = []
        for _ in range(2):
            async with await trio.open_unix_socket(str(path)) as stream:
                answers.append(await read_all(stream))
        assert answers == [b"hello\n", b""]
        assert server.statistics().refused == {"rate_per_peer": 1}
