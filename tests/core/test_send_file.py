"""A file goes to its own connection, whole or in part, in one piece, and unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tempfile
import threading
from functools import partial

import pytest
import trio
import trio.testing

from tests.handlers import read_all
from tests.pairs import pair, socket_pair_at
from tests.waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.mark.parametrize("on_disk", [True, False])
async def test_a_file_is_sent_whole_or_in_part(both, on_disk):
    one, other = both
    content = os.urandom(300_000)
    with tempfile.TemporaryFile() if on_disk else io.BytesIO() as file:
        file.write(content)
        file.seek(0)

        async def send() -> None:
            assert await one.send_file(file) == 300_000
            assert await one.send_file(file, offset=10, count=5) == 5
            assert await one.send_file(file, offset=299_999, count=50) == 1
            await one.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await read_all(other) == content + content[10:15] + content[-1:]
        assert one.sent == 300_006


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "named"])
async def test_what_was_written_to_the_file_and_not_flushed_is_sent(both, wrapped):
    one, other = both
    with tempfile.NamedTemporaryFile() if wrapped else tempfile.TemporaryFile() as file:
        file.write(b"a" * 10_000)
        file.seek(0)
        file.write(b"b" * 10)
        assert await one.send_file(file, offset=0, count=11) == 11
        assert await other.receive_exactly(11) == b"b" * 10 + b"a"
        file.seek(0, os.SEEK_END)
        file.write(b"c" * 10)
        assert await one.send_file(file, offset=9_999) == 11
        assert await other.receive_exactly(11) == b"a" + b"c" * 10


async def test_a_file_sent_from_where_it_stands_leaves_it_where_it_ended(over_tcp):
    one, other = over_tcp
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.seek(2)
        assert await one.send_file(file, count=3) == 3
        assert file.read() == b"56789"
        assert await other.receive_some() == b"234"


@pytest.mark.parametrize("pack", [gzip.open, bz2.open, lzma.open])
async def test_a_packed_file_is_sent_unpacked(tmp_path, pack, over_tcp):
    one, other = over_tcp
    with pack(tmp_path / "file", "wb") as file:
        file.write(b"hello " * 1000)
    with pack(tmp_path / "file") as file:
        assert await one.send_file(file, offset=6, count=11) == 11
    assert await other.receive_exactly(11) == b"hello hello"


async def test_a_file_that_does_not_know_its_size_is_sent_to_its_end(over_tcp):
    one, other = over_tcp
    with open("/proc/self/status", "rb") as file:
        assert await one.send_file(file) > 100
    assert (await other.receive_until(b":")) == b"Name:"


async def test_sending_nothing_of_a_file_is_a_checkpoint_too(tmp_path, both):
    (tmp_path / "file").write_bytes(b"x")
    with open(tmp_path / "file", "rb") as file, trio.testing.assert_checkpoints():
        assert await both[0].send_file(file, count=0) == 0


#: More than the buffers of both sides ever hold, so that a file of zeros is not sent at once.
MUCH = 20_000_000


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, MUCH)
    with open(path, "rb") as opened:
        yield opened


async def test_a_file_never_goes_to_whoever_has_got_the_descriptor_of_a_closed_connection(file):
    one, other = await pair()
    descriptor = one.transport.fileno()
    async with other, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError), trio.fail_after(PATIENCE):
                await one.send_file(file)

        while not one.sent:
            await trio.lowlevel.checkpoint()
        one.abort()
        stranger, its_peer = socket_pair_at(descriptor)
    with stranger, its_peer:
        with pytest.raises(BlockingIOError):
            its_peer.recv(1)


class Piecewise:
    """A file of two bytes, which are read one by one: the second one when `go_on` is set."""

    def __init__(self):
        self.reads, self.go_on = 0, threading.Event()

    def read(self, size):
        self.reads += 1
        if self.reads == 2:
            assert self.go_on.wait(PATIENCE)
        return b"f" if self.reads <= 2 else b""


async def test_nothing_is_sent_between_two_pieces_of_a_file(both):
    one, other = both
    file = Piecewise()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_file, file)
        assert await other.receive_some() == b"f"
        assert one.wire.is_broken_off, "an end of stream now would make half a file look whole"
        for send in (
            partial(one.send_all, b"in the middle"),
            one.wait_send_all_might_not_block,
            one.send_eof,
        ):
            with pytest.raises(trio.BusyResourceError):
                await send()
        with pytest.raises(trio.BusyResourceError):
            await one.send_file(io.BytesIO(b"in the middle"))
        file.go_on.set()
        assert await other.receive_some() == b"f"
    assert not one.wire.is_broken_off
    await one.send_eof()
    assert await other.receive_some() == b""


async def test_a_connection_that_is_closed_between_two_pieces_of_a_file(both):
    one, other = both
    file = Piecewise()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send():
            with pytest.raises(trio.ClosedResourceError):
                await one.send_file(file)

        assert await other.receive_some() == b"f"
        await one.aclose()
        file.go_on.set()


async def test_nothing_is_sent_in_the_middle_of_a_file(file, over_tcp):
    one, other = over_tcp
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            await one.send_file(file)
            await one.send_eof()

        while not one.sent:
            await trio.lowlevel.checkpoint()
        with pytest.raises(trio.BusyResourceError):
            await one.send_all(b"in the middle")
        received = 0
        async for data in other:
            assert not data.strip(b"\0")
            received += len(data)
        assert received == MUCH
