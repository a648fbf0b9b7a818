"""Bugs that were found by reading: a file goes to its own connection, in one piece."""

from __future__ import annotations

import pytest
import trio

from tests.pairs import pair, socket_pair

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_000_000)
    with open(path, "rb") as opened:
        yield opened


async def test_a_file_never_goes_to_whoever_has_got_the_descriptor_of_a_closed_connection(file):
    one, other = await pair()
    descriptor = one.transport.fileno()
    async with other, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError), trio.fail_after(5):
                await one.send_file(file)

        while not one.sent:
            await trio.lowlevel.checkpoint()
        one.abort()
        strangers = socket_pair()
        assert descriptor in [stranger.fileno() for stranger in strangers]
    with strangers[0], strangers[1]:
        for stranger in strangers:
            with pytest.raises(BlockingIOError):
                stranger.recv(1)


async def test_nothing_is_sent_in_the_middle_of_a_file(file):
    one, other = await pair()
    async with one, other, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            await one.send_file(file)
            await one.send_eof()

        while not one.sent:
            await trio.lowlevel.checkpoint()
        with pytest.raises(trio.BusyResourceError):
            await one.send_all(b"in the middle")
        received = 0
        while data := await other.receive_some():
            assert not data.strip(b"x")
            received += len(data)
        assert received == 1_000_000
