"""Behind a proxy, limits per peer count its clients; the proxy has a limit of its own."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

import triosock
from tests.handlers import read_all, says
from tests.waiting import takes
from triosock import Connection, Limits, ProxyPolicy, Rate, TcpAddress, events
from triosock._core.protocols.proxy_header import SIGNATURE
from triosock.testing import Recorder, check_nothing_left, open_server

LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
NEAR = TcpAddress("127.0.0.1", 1000)


def head(client: str) -> bytes:
    return f"PROXY TCP4 {client} 10.0.0.1 5000 443\r\n".encode()


def first_key(served: Any) -> Any:
    (key,) = served.server._registry.keys_for(TcpAddress("203.0.113.9", 1))[:1]
    return key


async def who(conn: Connection) -> None:
    await conn.send_all(f"{conn.peer.host}\n".encode())  # type: ignore[union-attr]
    async for _ in conn:
        pass


async def dial(served: Any, said: bytes, peer: TcpAddress = NEAR) -> Connection:
    client: Connection = await served.connect(peer=peer)
    await client.send_all(said)
    return client


async def answered(served: Any, said: bytes, answer: bytes, peer: TcpAddress = NEAR) -> Connection:
    """As `dial`; and this answer comes."""
    client = await dial(served, said, peer)
    assert await client.receive_until(b"\n") == answer
    return client


async def test_clients_of_one_proxy_do_not_count_for_each_other() -> None:
    async with open_server(who, proxy=True, limits=Limits(max_connections_per_peer=2)) as served:
        for number in range(5):
            await answered(served, head(f"203.0.113.{number}"), f"203.0.113.{number}\n".encode())
        assert served.server.statistics().refused == {}


async def test_one_client_too_many_is_refused_behind_its_header_and_makes_room_again() -> None:
    recorder = Recorder(events.Refused)
    limits = Limits(max_connections_per_peer=2)
    async with open_server(who, proxy=True, limits=limits, observers=[recorder]) as served:
        first = await answered(served, head("203.0.113.9"), b"203.0.113.9\n")
        await answered(served, head("203.0.113.9"), b"203.0.113.9\n")
        third = await dial(served, head("203.0.113.9"))
        assert await read_all(third) == b""
        await third.aclose()
        (refused,) = recorder.of(events.Refused)
        assert (refused.reason, str(refused.peer)) == ("peer", "tcp://203.0.113.9:5000")
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        await answered(served, head("203.0.113.9"), b"203.0.113.9\n")
        served.server._registry.check()


async def test_networks_are_counted_by_the_header_too() -> None:
    limits = Limits(max_connections_per_network=3)
    async with open_server(who, proxy=True, limits=limits) as served:
        answers = []
        for number in range(5):
            await dial(served, head(f"203.0.113.{number}"))
            await trio.testing.wait_all_tasks_blocked()
            answers.append(served.server.statistics().refused.get("network", 0))
        assert answers == [0, 0, 0, 1, 2]


async def test_a_function_says_something_to_one_too_many() -> None:
    limits = Limits(max_connections_per_peer=1, overflow=says(b"too many of you\n"))
    async with open_server(who, proxy=True, limits=limits) as served:
        await answered(served, head("203.0.113.9"), b"203.0.113.9\n")
        await answered(served, head("203.0.113.9"), b"too many of you\n")


async def test_one_too_many_holds_neither_a_slot_nor_a_count() -> None:
    async def sorry(conn: Connection) -> None:
        await conn.send_all(b"too many of you\n")
        await trio.sleep_forever()

    limits = Limits(max_connections=2, max_connections_per_peer=1, overflow=sorry, max_overflowing=2)
    async with open_server(who, proxy=True, limits=limits) as served:
        first = await answered(served, head("203.0.113.9"), b"203.0.113.9\n")
        for _ in range(2):
            await answered(served, head("203.0.113.9"), b"too many of you\n")
        third = await dial(served, head("203.0.113.9"))
        assert await read_all(third) == b""  # no more overflow handlers at once than max_overflowing
        served.server._registry.check()
        assert served.server._registry.count_of(first_key(served)) == 1
        await answered(served, head("203.0.113.10"), b"203.0.113.10\n")
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        await answered(served, head("203.0.113.9"), b"203.0.113.9\n")


async def test_one_that_was_refused_before_its_header_is_not_refused_again() -> None:
    limits = Limits(
        max_connections=1,
        max_connections_per_peer=1,
        overflow=says(b"full\n"),
        max_overflowing=1,
        rate_per_peer=Rate(2, per=60),
    )
    async with open_server(who, proxy=True, limits=limits) as served:
        first = await answered(served, head("203.0.113.9"), b"203.0.113.9\n")
        for _ in range(2):
            refused = await answered(served, head("203.0.113.9"), b"full\n")
            assert served.server._registry.count_of(first_key(served)) == 1
            await refused.aclose()
            await trio.testing.wait_all_tasks_blocked()
        assert served.server.statistics().refused == {"connections": 2}
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        await answered(served, head("203.0.113.9"), b"203.0.113.9\n")  # they have used nothing of its rate


async def test_one_too_many_that_is_closed_without_a_word_is_not_waited_for(autojump_clock: Any) -> None:
    limits = Limits(max_connections=2, max_connections_per_peer=1)
    async with open_server(who, proxy=True, limits=limits) as served:
        await answered(served, head("203.0.113.9"), b"203.0.113.9\n")
        with takes(0, abs=0):
            second = await dial(served, head("203.0.113.9"))
            assert await read_all(second) == b""
            # Its own end is still open, and the server does not wait for it.
            await trio.testing.wait_all_tasks_blocked()
            assert served.server.statistics().active == 1


@pytest.mark.parametrize("says_something", [False, True])
async def test_who_is_refused_behind_its_header_in_a_drain_is_reported_as_refused(
    says_something: bool, autojump_clock: Any
) -> None:
    limits = Limits(max_connections_per_peer=1)
    if says_something:
        limits = attrs.evolve(limits, overflow=says(b"too many of you\n"))
    async with open_server(who, proxy=True, limits=limits) as served:
        first = await answered(served, head("203.0.113.9"), b"203.0.113.9\n")
        await (await dial(served, head("203.0.113.9"))).aclose()  # before the drain, so not in its report
        second = await served.connect(peer=NEAR)
        await trio.testing.wait_all_tasks_blocked()
        served.server.drain(grace=20)
        await second.send_all(head("203.0.113.9"))
        await read_all(second)
        await first.aclose()
        await second.aclose()
        report = await served.server.wait_closed()
    assert (report.finished, report.refused) == ((2, 0) if says_something else (1, 1))
    assert (report.failed, report.left, report.cancelled) == (0, 0, 0)
    assert report.clean is says_something


@pytest.mark.parametrize("own", [LOCAL, b"PROXY UNKNOWN\r\n"])
async def test_a_health_check_counts_for_the_proxy_only(own: bytes) -> None:
    limits = Limits(max_connections_per_peer=1)
    policy = ProxyPolicy(max_connections_per_proxy=4)
    async with open_server(who, proxy=policy, limits=limits) as served:
        for _ in range(3):
            await answered(served, own, b"127.0.0.1\n")
        await answered(served, head("127.0.0.1"), b"127.0.0.1\n")
        await served.connect(peer=NEAR)
        await trio.testing.wait_all_tasks_blocked()
        assert served.server.statistics().refused == {"proxy": 1}
        await answered(served, own, b"127.0.0.2\n", TcpAddress("127.0.0.2", 1))


async def test_who_is_no_proxy_is_counted_with_the_accept() -> None:
    limits = Limits(max_connections_per_peer=1)
    far = TcpAddress("198.51.100.7", 1)
    async with open_server(who, proxy=ProxyPolicy(untrusted="direct"), limits=limits) as served:
        first = await served.connect(peer=far)
        assert await first.receive_until(b"\n") == b"198.51.100.7\n"
        await served.connect(peer=far)
        await trio.testing.wait_all_tasks_blocked()
        assert served.server.statistics().refused == {"peer": 1}


async def test_nothing_is_left_of_the_counts() -> None:
    limits = Limits(max_connections_per_peer=1)
    async with open_server(who, proxy=True, limits=limits) as served:
        for number in range(3):
            await dial(served, head(f"203.0.113.{number % 2}"))
        await trio.testing.wait_all_tasks_blocked()
    check_nothing_left(served.server)
    assert not served.server._registry._per_key


@pytest.mark.parametrize("wrong", [0, -1, True, "x"])
def test_a_wrong_limit_of_the_proxy_is_named(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_connections_per_proxy must be"):
        triosock.ProxyPolicy(max_connections_per_proxy=wrong)
