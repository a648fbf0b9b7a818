import pytest

from triosock.testing import Faults


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def ask(world, server, times):
    conn = await world.connect(server)
    for number in range(times):
        await conn.send_all(b"line %d\n" % number)
        assert await conn.receive_until(b"\n") == b"LINE %d\n" % number


@pytest.mark.simulate(seeds=100, faults=Faults.all())
async def test_it_shouts_in_a_bad_network(world):
    server = await world.serve(shout)
    for _ in range(world.integer(1, 5)):
        world.client(ask, world, server, world.integer(1, 4))
