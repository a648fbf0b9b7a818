import trio

import triosock
from triosock.events import ConnectionClosed
from triosock.testing import cancel_at_every_checkpoint, open_server


async def shout(conn):
    async for line in conn.lines(max_bytes=1000):
        await conn.send_all(line.upper())


async def test_it_shouts():
    async with open_server(shout) as served:
        client = await served.connect()
        await client.send_all(b"hello\nyou\n")
        assert await client.receive_exactly(10) == b"HELLO\nYOU\n"


async def test_an_endless_line_is_the_clients_fault():
    async with open_server(shout) as served:
        client = await served.connect()
        await client.send_all(b"x" * 2000)
        closed = await served.recorder.wait_for(ConnectionClosed)
        assert closed.cause is triosock.Cause.PEER


async def test_half_an_hour_of_silence_is_enough(autojump_clock):
    async with open_server(shout) as served:
        await served.connect()
        closed = await served.recorder.wait_for(ConnectionClosed)
        assert closed.cause is triosock.Cause.IDLE
        assert 1800 <= trio.current_time() <= 1803


async def test_a_drain_ends_the_idle_and_answers_the_busy(autojump_clock):
    async with open_server(shout) as served:
        idle, busy = await served.connect(), await served.connect()
        await busy.send_all(b"half")
        await trio.testing.wait_all_tasks_blocked()
        served.server.drain(grace=60)
        assert await idle.receive_some() == b""
        await busy.send_all(b" a line\n")
        assert await busy.receive_until(b"\n") == b"HALF A LINE\n"
        await busy.aclose()
    assert served.report.clean


async def test_nothing_is_left_wherever_it_is_cancelled():
    async def scenario():
        async with open_server(shout) as served:
            client = await served.connect()
            await client.send_all(b"hello\n")
            await client.receive_until(b"\n")

    await cancel_at_every_checkpoint(scenario)
