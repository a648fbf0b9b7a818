"""no_leaks: each kind of thing that can be left is planted once, and seen."""

import contextlib
import gc
import socket
import threading
import warnings

import pytest
import trio

from triosock.testing import memory_stream_pair, no_leaks


async def test_a_block_that_leaves_nothing_passes():
    with no_leaks():
        with socket.socket():
            pass
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
        await trio.to_thread.run_sync(int)


async def test_a_descriptor():
    with (
        contextlib.ExitStack() as stack,
        pytest.raises(AssertionError, match=r"descriptor \d+: socket:"),
        no_leaks(),
    ):
        stack.enter_context(socket.socket())


async def test_a_descriptor_that_the_garbage_collector_closed():
    with pytest.raises(AssertionError, match=r"garbage: unclosed <socket.socket"), no_leaks():
        socket.socket()
        gc.collect()


async def test_a_task():
    async with trio.open_nursery() as nursery:
        with pytest.raises(AssertionError, match=r"task .*sleep_forever"), no_leaks():
            nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()


async def test_a_system_task():
    scope = trio.CancelScope()

    async def linger():
        with scope:
            await trio.sleep_forever()

    with pytest.raises(AssertionError, match=r"task .*linger"), no_leaks():
        trio.lowlevel.spawn_system_task(linger)
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_thread():
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="planted")
    try:
        with pytest.raises(AssertionError, match="thread planted"), no_leaks():
            thread.start()
    finally:
        done.set()
        thread.join()


async def test_a_memory_stream():
    with (
        contextlib.ExitStack() as stack,
        pytest.raises(AssertionError, match="stream <MemoryStream server>"),
        no_leaks(),
    ):
        client, server = memory_stream_pair()
        stack.callback(server.close)
        client.close()


async def test_a_coroutine_that_nobody_awaited():
    async def forgotten():
        pass

    with pytest.raises(AssertionError, match="never awaited"), no_leaks():
        forgotten()
        gc.collect()


async def test_other_warnings_pass():
    with pytest.warns(UserWarning, match="mine"), no_leaks():
        warnings.warn("mine", UserWarning, stacklevel=1)


async def test_an_error_of_the_block_is_not_hidden():
    with contextlib.ExitStack() as stack, pytest.raises(KeyError), no_leaks():
        stack.enter_context(socket.socket())
        raise KeyError


async def test_a_block_that_raises_keeps_its_warnings():
    async def forgotten():
        pass

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match="planned") as raised, no_leaks():
            warnings.warn("look here", DeprecationWarning, stacklevel=1)
            forgotten()
            raise ValueError("planned")
    assert [str(one.message) for one in shown] == ["look here"]
    [note] = raised.value.__notes__
    assert "forgotten' was never awaited" in note


async def test_a_warning_that_is_an_error_does_not_replace_the_one_that_was_raised():
    with pytest.raises(ValueError, match="planned"), no_leaks():
        warnings.warn("look here", DeprecationWarning, stacklevel=1)
        raise ValueError("planned")
