"""Rates of datagrams and of new sessions: the excess is dropped, counted and reported."""

from __future__ import annotations

from typing import Any

import trio

import triosock
from tests.datagrams.serving import in_memory, send_all, settle
from tests.servers import drained, running
from tests.waiting import until
from triosock import Limits, Rate, Sessions, events
from triosock.testing import Recorder


class Kept:
    """A handler that keeps what it was given."""

    def __init__(self) -> None:
        self.data: list[bytes] = []

    async def __call__(self, datagram: Any) -> None:
        self.data.append(datagram.data)


async def test_what_comes_too_fast_of_one_peer_is_dropped_and_others_are_served(autojump_clock: Any) -> None:
    kept, recorder = Kept(), Recorder(events.DatagramDropped)
    limits = Limits(datagram_rate_per_peer=Rate(1, per=10, burst=2))
    async with in_memory(kept, limits=limits, observers=[recorder]) as (server, network):
        one, other = network.open("one"), network.open("other")
        await send_all(one, server, b"1", b"2", b"3", b"4")
        await send_all(other, server, b"5")
        assert sorted(kept.data) == [b"1", b"2", b"5"]
        assert server.statistics().dropped == {"datagram_rate_per_peer": 2}
        assert [(told.peer, told.reason) for told in recorder.events] == [
            (one.address, "datagram_rate_per_peer")
        ] * 2
        await trio.sleep(10)
        await send_all(one, server, b"6", b"7")
        assert sorted(kept.data) == [b"1", b"2", b"5", b"6"]
        assert server.statistics().received == 7


async def test_all_together_have_a_rate(autojump_clock: Any) -> None:
    kept = Kept()
    async with in_memory(kept, limits=Limits(datagram_rate=Rate(1, per=10, burst=3))) as (server, network):
        for number in range(5):
            await send_all(network.open(f"client{number}"), server, b"%d" % number)
        assert sorted(kept.data) == [b"0", b"1", b"2"]
        assert server.statistics().dropped == {"datagram_rate": 2}


async def test_datagrams_of_a_session_count_one_by_one(autojump_clock: Any) -> None:
    got = []

    async def handler(session: triosock.Session) -> None:
        while True:
            got.append(await session.receive())

    limits = Limits(datagram_rate_per_peer=Rate(1, per=10, burst=2))
    async with in_memory(handler, sessions=Sessions(), limits=limits) as (server, network):
        await send_all(network.open("one"), server, b"1", b"2", b"3")
        assert got == [b"1", b"2"]
        assert server.statistics().dropped == {"datagram_rate_per_peer": 1}


async def test_sessions_may_begin_only_so_often(autojump_clock: Any) -> None:
    begun = []

    async def handler(session: triosock.Session) -> None:
        begun.append(str(session.peer))
        async for _ in session:
            return

    limits = Limits(rate=Rate(1, per=10, burst=3), rate_per_peer=Rate(1, per=10, burst=1))
    async with in_memory(handler, sessions=Sessions(), limits=limits) as (server, network):
        one = network.open("one")
        for _ in range(3):
            await send_all(one, server, b"x")
        assert server.statistics().dropped == {"rate_per_peer": 2}
        for name in ("two", "three", "four"):
            await send_all(network.open(name), server, b"x")
        assert begun == ["memory://one", "memory://two", "memory://three"]
        assert server.statistics().dropped == {"rate_per_peer": 2, "rate": 1}


async def test_hosts_and_networks_are_told_apart_by_the_kernels_addresses() -> None:
    kept = Kept()
    limits = Limits(
        datagram_rate_per_peer=Rate(1, per=1000, burst=2),
        datagram_rate_per_network=Rate(1, per=1000, burst=3),
        network_prefix=(24, 56),
    )
    async with running(triosock.serve_udp, kept, 0, host="127.0.0.1", limits=limits) as server:
        port = server.addresses[0].port
        for number, source in enumerate(["127.0.0.1"] * 3 + ["127.0.0.2"] * 2 + ["127.0.1.1"]):
            with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as client:
                await client.bind((source, 0))
                await client.sendto(b"%d" % number, ("127.0.0.1", port))
            await until(lambda number=number: server.statistics().received > number)
        await settle(0.01)
        assert sorted(kept.data) == [b"0", b"1", b"3", b"5"]
        assert server.statistics().dropped == {"datagram_rate_per_peer": 1, "datagram_rate_per_network": 1}


async def test_in_a_drain_the_rates_hold_too(autojump_clock: Any) -> None:
    kept = Kept()
    limits = Limits(datagram_rate_per_peer=Rate(1, per=1000, burst=2))
    async with in_memory(kept, limits=limits) as (server, network):
        client = network.open("one")
        for _ in range(4):
            await client.send(b"x", server.addresses[0])
        report = await drained(server)
        assert report.drained
        statistics = server.statistics()
        assert (statistics.handled, statistics.dropped) == (2, {"datagram_rate_per_peer": 2})
