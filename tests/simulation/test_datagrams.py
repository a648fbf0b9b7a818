"""Datagrams in a simulated world: their faults, and that each is counted."""

from __future__ import annotations

import pytest
import trio

from triosock import Datagram, Session, Sessions
from triosock.testing.simulation import Faults, SimulatedDatagramServer, SimulationFailed, World, simulate

ALL = Faults.all(crashes=0.0, cancels=0.0)


async def double(datagram: Datagram) -> None:
    await datagram.reply(datagram.data * 2)


async def ask_until_answered(world: World, server: SimulatedDatagramServer, word: bytes) -> None:
    client = world.datagram_client(server)
    for _ in range(20):
        await client.send(word)
        with trio.move_on_after(1):
            answer = await client.receive()
            assert any((word[:length] * 2).startswith(answer) for length in range(len(word) + 1))
            break
    client.close()


async def doubling(world: World) -> None:
    server = await world.serve_datagrams(double)
    for number in range(world.integer(1, 4)):
        world.client(ask_until_answered, world, server, b"word%d" % number)


def test_every_datagram_is_counted_under_all_faults() -> None:
    done = simulate(doubling, seeds=150, faults=Faults.all(losses=0.3, truncations=0.0))
    assert {"losses", "duplicates", "reorders", "drains", "crashes", "cancels"} <= set(done.faults)
    assert simulate(doubling, seeds=50, faults=ALL).faults["truncations"]


def test_order_and_number_are_as_sent_without_faults() -> None:
    async def scenario(world: World) -> None:
        server = await world.serve_datagrams(double)

        async def talk() -> None:
            client = world.datagram_client(server)
            for number in range(5):
                await client.send(b"%d" % number)
                assert await client.receive() == b"%d" % number * 2

        world.client(talk)

    simulate(scenario, seeds=20)


def test_sessions_are_simulated() -> None:
    async def count(session: Session) -> None:
        number = 0
        async for _ in session:
            number += 1
            await session.send(b"%d" % number)

    async def scenario(world: World) -> None:
        server = await world.serve_datagrams(count, sessions=Sessions(idle=60, max=100, buffer=8))

        async def talk() -> None:
            client = world.datagram_client(server)
            for number in range(1, 4):
                await client.send(b"more")
                assert await client.receive() == b"%d" % number

        world.client(talk)
        world.client(talk)

    simulate(scenario, seeds=40)


def test_a_server_that_relies_on_the_order_of_datagrams_fails_the_run() -> None:
    async def scenario(world: World) -> None:
        seen: list[bytes] = []

        async def note(datagram: Datagram) -> None:
            seen.append(datagram.data)

        server = await world.serve_datagrams(note)

        async def talk() -> None:
            client = world.datagram_client(server)
            for number in range(5):
                await client.send(b"%d" % number)
                await trio.sleep(0.001)

        world.client(talk)
        world.check(lambda: seen == sorted(set(seen)))

    with pytest.raises(SimulationFailed, match=r"is reordered|is duplicated"):
        simulate(scenario, seeds=100, faults=Faults(reorders=0.1, duplicates=0.1))


def test_a_partition_loses_datagrams() -> None:
    async def scenario(world: World) -> None:
        server = await world.serve_datagrams(double)

        async def talk() -> None:
            client = world.datagram_client(server)
            world.link("client1", "server").partition()
            await client.send(b"lost")
            world.link("client1", "server").heal()
            await client.send(b"x")
            assert await client.receive() == b"xx"

        world.client(talk)

    assert simulate(scenario, seeds=3).faults["losses"] == 3
