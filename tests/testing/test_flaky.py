"""A listener that fails as scripted: the script comes first."""

import errno

import pytest
import trio

from triosock.testing import FlakyListener, MemoryListener


def wants_memory(number):
    return OSError(number, "scripted")


async def test_each_error_is_raised_once_and_then_it_accepts():
    inner = MemoryListener()
    client = await inner.connect()
    flaky = FlakyListener(inner, [wants_memory(errno.EMFILE), wants_memory(errno.ECONNABORTED)])
    raised = []
    while flaky.remaining:
        await flaky.wait_ready()
        with pytest.raises(OSError, match="scripted") as caught:
            flaky.accept_nowait()
        raised.append(caught.value.errno)
    assert raised == [errno.EMFILE, errno.ECONNABORTED]
    await flaky.wait_ready()
    stream, _ = flaky.accept_nowait()
    assert flaky.address == inner.address
    for one in (client, stream, flaky):
        one.close()
    assert inner.is_closed
    assert flaky.is_closed


async def test_it_is_ready_though_nobody_is_there_while_errors_are_left(autojump_clock):
    flaky = FlakyListener(MemoryListener(), [wants_memory(errno.EMFILE)])
    with trio.fail_after(1):
        await flaky.wait_ready()
    with pytest.raises(OSError, match="scripted"):
        flaky.accept_nowait()
    with trio.move_on_after(1) as scope:
        await flaky.wait_ready()
    assert scope.cancelled_caught
    await flaky.aclose()


async def test_errors_of_the_wait():
    inner = MemoryListener()
    client = await inner.connect()
    flaky = FlakyListener(inner, [trio.ClosedResourceError("scripted")], where="wait")
    with pytest.raises(trio.ClosedResourceError, match="scripted"):
        await flaky.wait_ready()
    await flaky.wait_ready()
    flaky.accept_nowait()[0].close()
    client.close()
    flaky.close()


def test_what_is_no_listener_or_no_error_is_named():
    inner = MemoryListener()
    with pytest.raises(TypeError, match="listener must be"):
        FlakyListener(object(), [])
    with pytest.raises(TypeError, match="errors must be exceptions"):
        FlakyListener(inner, [errno.EMFILE])
    with pytest.raises(ValueError, match="where must be"):
        FlakyListener(inner, [], where="close")
    inner.close()
