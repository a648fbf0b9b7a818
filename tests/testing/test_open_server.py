"""open_server: a server for the length of a block, and nothing after it."""

import pytest
import trio

import triosock
from tests.handlers import ask, ask_line, shout, wait_forever
from triosock import Limits, TcpAddress
from triosock.events import ConnectionOpened
from triosock.testing import MemoryListener, check_nothing_left, no_leaks, open_server


async def test_a_client_talks_to_the_handler(autojump_clock):
    async with open_server(shout) as served:
        client = await served.connect()
        assert await ask_line(client, b"hello\n") == b"HELLO\n"
    assert served.report.clean
    assert served.report.drained
    assert served.report.finished == 1


async def test_what_is_still_busy_is_cut_at_the_end(autojump_clock):
    async with open_server(wait_forever, grace=3) as served:
        await served.connect()
        await served.recorder.wait_for(ConnectionOpened)
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(3)
    assert served.report.cancelled == 1


async def test_an_error_of_the_block_comes_out_as_it_is_and_at_once(autojump_clock):
    with no_leaks():
        with pytest.raises(KeyError, match="mine"):
            async with open_server(wait_forever, grace=100) as served:
                await served.connect()
                raise KeyError("mine")
        assert trio.current_time() < 50
    check_nothing_left(served.server)


async def test_a_cancelled_block_leaves_nothing(autojump_clock):
    with no_leaks():
        with trio.move_on_after(1) as scope:
            async with open_server(wait_forever) as served:
                await served.connect()
                await trio.sleep_forever()
        assert scope.cancelled_caught
    check_nothing_left(served.server)


async def test_a_server_that_crashes_ends_the_block_with_its_error(autojump_clock):
    async def crash(conn):
        raise RuntimeError("handler")

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="handler"), flatten_subgroups=True):
        async with open_server(crash, on_error="raise") as served:
            await served.connect()
            await trio.sleep_forever()


async def test_a_mistake_in_the_options_is_raised_plainly():
    with pytest.raises(TypeError, match="limits must be"):
        async with open_server(shout, limits=3):
            pass


async def test_the_test_may_drain_the_server_itself(autojump_clock):
    async with open_server(shout) as served:
        client = await served.connect()
        assert await ask(client, b"a\n") == b"A\n"
        served.server.drain()
        assert await client.receive_some() == b""
        await client.aclose()
        report = await served.server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await served.connect()
    assert served.report == report


async def test_clients_may_have_addresses_of_their_own(autojump_clock):
    async def tell(conn):
        await conn.send_all(str(conn.peer).encode())

    async with open_server(tell) as served:
        client = await served.connect(peer=TcpAddress("192.0.2.1", 7))
        assert await client.receive_exactly(17) == b"tcp://192.0.2.1:7"


async def test_over_tcp_and_memory_at_once():
    listeners = [*await triosock.open_tcp_listeners(0, host="127.0.0.1"), MemoryListener()]
    with no_leaks():
        async with open_server(shout, listeners=listeners, limits=Limits(max_connections=2)) as served:
            for index in range(2):
                client = await served.connect(listener=index)
                assert await ask_line(client, b"x\n") == b"X\n"


async def test_over_a_unix_socket(tmp_path):
    listener = triosock.open_unix_listener(tmp_path / "s")
    async with open_server(shout, listeners=[listener]) as served:
        client = await served.connect()
        assert await ask_line(client, b"x\n") == b"X\n"
    assert not (tmp_path / "s").exists()


async def test_check_nothing_left_says_what_is(autojump_clock):
    async with open_server(wait_forever, grace=0) as served:
        await served.connect()
        await served.recorder.wait_for(ConnectionOpened)
        with pytest.raises(AssertionError, match="memory://memory/1"):
            check_nothing_left(served.server)


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_the_report_counts_the_clients_that_the_end_of_the_block_closes(kind):
    listeners = None if kind == "memory" else await triosock.open_tcp_listeners(0, host="127.0.0.1")
    async with open_server(shout, listeners=listeners) as served:
        for _ in range(3):
            client = await served.connect()
            assert await ask_line(client, b"hello\n") == b"HELLO\n"
    assert served.report.finished == 3
