"""In-memory streams: trio's own checks first, then what a socket does and those checks do not ask for."""

import pytest
import trio
import trio.testing

from tests.handlers import read_to_reset
from triosock.testing import memory_stream_pair


@pytest.fixture
def ends():
    """A client's and a server's."""
    client, server = memory_stream_pair()
    yield client, server
    client.close()
    server.close()


async def make_pair():
    return memory_stream_pair()


async def make_clogged_pair():
    one, other = memory_stream_pair(buffer_size=4)
    await one.send_all(b"full")
    await other.send_all(b"full")
    return one, other


async def test_it_is_a_half_closeable_stream_as_trio_checks_it(autojump_clock):
    await trio.testing.check_half_closeable_stream(make_pair, make_clogged_pair)


async def test_a_reset_takes_what_was_not_read(ends):
    client, server = ends
    await client.send_all(b"never read")
    await server.send_all(b"reply")
    server.close()
    assert await read_to_reset(client) == b""
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"x")


async def test_without_unread_input_a_close_is_the_end_of_the_stream_and_the_reply_survives(ends):
    client, server = ends
    await client.send_all(b"read")
    assert await server.receive_some() == b"read"
    await server.send_all(b"reply")
    server.close()
    assert await client.receive_some() == b"reply"
    assert await client.receive_some() == b""


async def test_waiting_for_room_sends_nothing_and_so_costs_no_reply(ends):
    client, server = ends
    await server.send_all(b"reply")
    server.close()
    await client.wait_send_all_might_not_block()
    assert await client.receive_some() == b"reply"


async def test_sending_to_a_closed_end_breaks_the_stream_and_costs_the_reply(ends):
    client, server = ends
    await server.send_all(b"reply")
    server.close()
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"too late")
    assert await read_to_reset(client) == b""


async def test_abort_resets_even_if_all_was_read(ends):
    client, server = ends
    await server.send_all(b"reply")
    server.abort()
    assert client.has_input()
    assert await read_to_reset(client) == b""


async def test_has_input_tells_of_bytes_and_of_the_end(ends):
    client, server = ends
    assert not server.has_input()
    await client.send_all(b"x")
    assert server.has_input()
    await server.receive_some()
    assert not server.has_input()
    await client.send_eof()
    assert server.has_input()


async def test_a_send_waits_for_room_and_a_cancelled_one_has_sent_what_fitted(autojump_clock):
    client, server = memory_stream_pair(buffer_size=3)
    with trio.move_on_after(1) as scope:
        await client.send_all(b"abcdef")
    assert scope.cancelled_caught
    assert await server.receive_some() == b"abc"
    client.close()
    server.close()


async def test_a_cancelled_receive_loses_nothing(ends):
    client, server = ends
    await client.send_all(b"kept")
    with trio.CancelScope() as scope:
        scope.cancel()
        await server.receive_some()
    assert await server.receive_some() == b"kept"


async def test_receive_some_takes_no_more_than_asked_for(ends):
    client, server = ends
    await client.send_all(b"abc")
    assert [await server.receive_some(2), await server.receive_some(2)] == [b"ab", b"c"]


def test_an_end_that_nobody_closed_is_a_resource_warning():
    client, server = memory_stream_pair()
    client.close()
    with pytest.warns(ResourceWarning, match="unclosed <MemoryStream server>"):
        del server


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (True, TypeError), (1.5, TypeError)])
def test_a_wrong_buffer_size_is_named(size, error):
    with pytest.raises(error, match="buffer_size must be an int from 1 on"):
        memory_stream_pair(buffer_size=size)


async def test_a_str_is_no_data(ends):
    client, _ = ends
    with pytest.raises(TypeError, match="encode"):
        await client.send_all("text")
