"""The cancellation harness: it cancels once at each checkpoint, and it sees each leak that is planted."""

import contextlib
import gc
import socket
import warnings

import pytest
import trio

import triosock
from tests.handlers import shout
from triosock.testing import (
    MemoryListener,
    cancel_at_every_checkpoint,
    memory_stream_pair,
    open_server,
    watch,
)


@pytest.fixture(autouse=True)
def planted():
    """Collect what the tests below leave on purpose: no other test is to be blamed for it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def scenario_of(handler, **options):
    async def scenario():
        async with open_server(handler, **options) as served:
            client = await served.connect()
            await client.send_all(b"hello\n")
            await client.receive_some()

    return scenario


async def check_is_caught(handler, says):
    with pytest.raises(AssertionError, match=says):
        await cancel_at_every_checkpoint(scenario_of(handler))


async def test_it_cancels_once_at_each_step():
    reached = []

    async def three_steps():
        reached.append(0)
        for number in (1, 2, 3):
            await trio.lowlevel.checkpoint()
            reached.append(number)

    assert await cancel_at_every_checkpoint(three_steps) == 4  # the last step is the one that ends it
    once = [[0, 1, 2, 3]]
    # Not at all; before the first step, which this scenario cannot tell from after it; after each one.
    runs = [*once, [0], [0], [0, 1], [0, 1, 2], *once, *once]
    assert reached == [number for run in runs for number in run]


@pytest.mark.parametrize("whose", ["scenario", "handlers"])
async def test_a_good_handler_passes(autojump_clock, whose):
    assert await cancel_at_every_checkpoint(scenario_of(shout), whose=whose) > 3


async def test_only_handlers_are_cancelled_if_asked_for(autojump_clock):
    ended = []

    async def handler(conn):
        try:
            await shout(conn)
        except trio.Cancelled:
            ended.append("handler")
            raise

    async def scenario():
        try:
            await scenario_of(handler)()
        except trio.Cancelled:
            ended.append("scenario")
            raise

    await cancel_at_every_checkpoint(scenario, whose="handlers")
    assert set(ended) == {"handler"}


async def test_a_handler_that_leaks_a_socket_is_caught(autojump_clock):
    with contextlib.ExitStack() as stack:

        async def leak(conn):
            sock = stack.enter_context(socket.socket())
            await conn.send_all(b"x")
            sock.close()  # not in a finally

        await check_is_caught(leak, r"(?s)cancelled at checkpoint \d+ .*descriptor \d+: socket:")


async def test_a_handler_that_drops_a_socket_is_caught(autojump_clock):
    async def leak(conn):
        sock = socket.socket()
        await conn.send_all(b"x")
        sock.close()

    await check_is_caught(leak, r"(?s)cancelled at checkpoint \d+ .*(descriptor|unclosed <socket)")


async def test_a_handler_that_leaks_a_task_is_caught(autojump_clock):
    async with trio.open_nursery() as outside:

        async def leak(conn):
            outside.start_soon(trio.sleep_forever)
            await conn.send_all(b"x")

        await check_is_caught(leak, "task trio.sleep_forever")
        outside.cancel_scope.cancel()


async def test_a_handler_that_leaks_a_stream_is_caught(autojump_clock):
    with contextlib.ExitStack() as stack:

        async def leak(conn):
            client, server = memory_stream_pair(names=("planted", "other"))
            stack.callback(client.close)
            await conn.send_all(b"x")
            client.close()
            server.close()

        await check_is_caught(leak, "left behind")


async def test_a_slot_that_is_taken_twice_is_caught(autojump_clock):
    async def leak(conn):
        conn.server._registry._slots += 1
        await conn.send_all(b"x")

    await check_is_caught(leak, "1 entries are served, 2 slots are taken")


async def test_an_entry_that_stays_in_the_registry_is_caught_as_its_server_never_ends(autojump_clock):
    async def leak(conn):
        await conn.send_all(b"x")
        conn.entry.number = 0  # so that it is not found when it leaves

    await check_is_caught(leak, "not cancelled at all: it did not end within 60 s")


async def test_a_cleanup_that_raises_is_named_with_the_place(autojump_clock):
    async def scenario():
        try:
            await trio.sleep(1)
        except trio.Cancelled:
            raise KeyError("cleanup") from None

    with pytest.raises(AssertionError, match=r"cancelled at checkpoint 0 .*KeyError\('cleanup'\)"):
        await cancel_at_every_checkpoint(scenario)


async def test_what_the_scenario_raises_by_itself_comes_out_as_it_is():
    async def scenario():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await cancel_at_every_checkpoint(scenario)


async def test_clients_may_find_their_peer_gone_but_nothing_else(autojump_clock):
    async def scenario():
        async with open_server(shout) as served:
            client = await served.connect()
            await client.send_all(b"hello\n")
            await client.receive_until(b"\n")  # Incomplete, if the handler was cut off

    await cancel_at_every_checkpoint(scenario, whose="handlers")
    with pytest.raises(AssertionError, match=r"Incomplete|BrokenResourceError"):
        await cancel_at_every_checkpoint(scenario, whose="handlers", expected=())


async def test_servers_opened_by_other_means_are_watched_if_named(autojump_clock):
    async def leak(conn):
        conn.server._registry._slots += 1

    async def scenario(watching):
        listener = MemoryListener()
        async with trio.open_nursery() as nursery:
            server = await nursery.start(triosock.serve_listeners, leak, [listener])
            if watching:
                watch(server)
            client = await listener.connect()
            with contextlib.closing(client):
                await client.receive_some()
            nursery.cancel_scope.cancel()

    await cancel_at_every_checkpoint(lambda: scenario(False))
    with pytest.raises(AssertionError, match="slots are taken"):
        await cancel_at_every_checkpoint(lambda: scenario(True))


async def test_a_scenario_without_an_end_is_refused(autojump_clock):
    async def scenario():
        for _ in range(10):
            await trio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="more than 5 checkpoints"):
        await cancel_at_every_checkpoint(scenario, max_checkpoints=5)


async def test_a_wrong_option_is_named():
    with pytest.raises(ValueError, match="whose must be"):
        await cancel_at_every_checkpoint(trio.lowlevel.checkpoint, whose="nobody")
