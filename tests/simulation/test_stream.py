"""What a simulated connection does to bytes: late, in pieces, not at all for a while; never lost or out of
order but by a reset.
"""

from __future__ import annotations

import pytest
import trio

from tests.handlers import ask, ask_line, read_all, shout
from tests.simulation.scenarios import one_client
from triosock import Connection
from triosock.testing.simulation import Faults, SimulationFailed, World, simulate

DATA = bytes(range(256)) * 300


async def echo(conn: Connection) -> None:
    async for data in conn:
        await conn.send_all(data)


def test_nothing_is_lost_doubled_or_out_of_order() -> None:
    async def talk(conn: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, conn)
            assert await read_all(conn) == DATA

    async def send(conn: Connection) -> None:
        await conn.send_all(DATA)
        await conn.send_eof()

    faults = Faults.network(bandwidth=1_000_000, cuts=0.3, slow_readers=0.0)
    done = simulate(one_client(talk, echo), seeds=15, faults=faults)
    assert {"cuts", "latency", "small buffers"} <= set(done.faults)


def test_latency_is_paid_each_way() -> None:
    async def talk(conn: Connection) -> None:
        latency = conn.transport.outgoing.conditions.seconds
        assert trio.current_time() == pytest.approx(2 * latency)
        began = trio.current_time()
        assert await ask_line(conn, b"hi\n") == b"HI\n"
        assert trio.current_time() - began == pytest.approx(2 * latency)

    assert simulate(one_client(talk), seeds=20, faults=Faults(latency=0.5)).faults["latency"]


def test_a_partition_is_silent_and_heals() -> None:
    async def scenario(world: World) -> None:
        server = await world.serve(shout)
        link = world.link("client1", "server")

        async def client() -> None:
            conn = await world.connect(server)
            link.partition()
            await conn.send_all(b"hi\n")
            with trio.move_on_after(100) as waiting:
                await conn.receive_until(b"\n")
            assert waiting.cancelled_caught
            link.heal()
            assert await conn.receive_until(b"\n") == b"HI\n"
            assert trio.current_time() == 100

        world.client(client)

    simulate(scenario, seeds=20)


def test_a_full_buffer_makes_the_sender_wait() -> None:
    async def read_late(conn: Connection) -> None:
        await trio.sleep(50)
        assert len(await conn.receive_exactly(100_000)) == 100_000
        await conn.send_all(b"x")

    async def talk(conn: Connection) -> None:
        await conn.send_all(b"x" * 100_000)
        assert trio.current_time() == 50
        assert await conn.receive_some() == b"x"

    simulate(one_client(talk, read_late), seeds=5)


def test_a_reset_reaches_both_ends_and_excuses_the_client() -> None:
    async def scenario(world: World) -> None:
        server = await world.serve(echo)

        async def talk() -> None:
            conn = await world.connect(server)
            while True:
                await conn.send_all(b"x" * 500)
                assert await conn.receive_exactly(500) == b"x" * 500

        client = world.client(talk)
        world.check(lambda: client.excused is not None and "is reset after" in client.excused)

    assert simulate(scenario, seeds=5, faults=Faults(resets=1.0), max_steps=10**6).faults["resets"] >= 5


def test_a_reset_that_no_fault_explains_fails_the_run() -> None:
    async def abort(conn: Connection) -> None:
        await conn.receive_some()
        conn.abort()

    with pytest.raises(SimulationFailed, match="BrokenResourceError"):
        simulate(one_client(lambda client: ask(client, b"x"), abort), seeds=1)


def test_peer_that_is_gone_is_told_when_it_arrives() -> None:
    async def scenario(world: World) -> None:
        seen: list[float] = []

        async def wait(conn: Connection) -> None:
            await conn.wait_peer_gone()
            seen.append(trio.current_time())

        server = await world.serve(wait)

        async def client() -> None:
            conn = await world.connect(server)
            await conn.send_all(b"unread")
            await trio.sleep(7)
            await conn.aclose()

        world.client(client)
        world.check(lambda: len(seen) == 1 and 7 <= seen[0] < 9)

    simulate(scenario, seeds=20, faults=Faults(latency=0.5))
