"""Connections: reading lines, frames, exactly so much, until a delimiter."""

from __future__ import annotations

import io

import pytest
import trio
import trio.testing

import triosock

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_lines_are_given_one_by_one_with_their_ends(both):
    one, other = both
    await other.send_all(b"a\nbb\n\nlast without end")
    await other.send_eof()
    assert [line async for line in one.lines()] == [b"a\n", b"bb\n", b"\n", b"last without end"]


async def test_a_line_that_comes_in_pieces_is_put_together(both):
    one, other = both
    lines = one.lines()
    for piece in (b"he", b"l", b"lo\nwor"):
        await other.send_all(piece)
        await trio.testing.wait_all_tasks_blocked()
    assert await lines.__anext__() == b"hello\n"
    await other.send_all(b"ld\n")
    assert await lines.__anext__() == b"world\n"


async def test_a_line_over_the_limit_is_an_error_before_the_memory_is_filled(both):
    one, other = both
    lines = one.lines(max_bytes=10)
    await other.send_all(b"123456789\n")
    assert await lines.__anext__() == b"123456789\n"
    await other.send_all(b"1234567890")
    with pytest.raises(triosock.FrameTooLarge, match="line of more than 10 bytes"):
        await lines.__anext__()


async def test_one_packet_that_is_a_line_too_long_is_an_error_too(both):
    one, other = both
    await other.send_all(b"1234567890\n")
    with pytest.raises(triosock.FrameTooLarge):
        await one.lines(max_bytes=10).__anext__()


async def test_what_lines_did_not_take_is_left_for_the_other_methods(both):
    one, other = both
    await other.send_all(b"command\nbody;end")
    async for line in one.lines():
        assert line == b"command\n"
        break
    assert await one.receive_until(b";") == b"body;"
    assert await one.receive_exactly(2) == b"en"
    assert await one.receive_some() == b"d"


async def test_receive_some_gives_what_is_buffered_first_and_not_more_than_asked_for(both):
    one, other = both
    await other.send_all(b"line\nrest")
    assert await one.receive_until(b"\n") == b"line\n"
    assert await one.receive_some(2) == b"re"
    assert await one.receive_some() == b"st"


async def test_exactly_raises_incomplete_at_the_end_and_has_the_beginning(both):
    one, other = both
    await other.send_all(b"abc")
    await other.send_eof()
    with pytest.raises(triosock.Incomplete, match="4 bytes, after 3 bytes") as caught:
        await one.receive_exactly(4)
    assert caught.value.partial == b"abc"
    assert await one.receive_exactly(3) == b"abc"
    assert await one.receive_exactly(0) == b""


async def test_until_raises_incomplete_and_too_large(both):
    one, other = both
    await other.send_all(b"abcdef")
    with pytest.raises(triosock.FrameTooLarge, match="more than 6"):
        await one.receive_until(b";", max_bytes=6)
    await other.send_eof()
    with pytest.raises(triosock.Incomplete):
        await one.receive_until(b";", max_bytes=7)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda conn: conn.receive_exactly(-1), ValueError, "size must be from 0 on"),
        (lambda conn: conn.receive_exactly("1"), TypeError, "size must be an int"),
        (lambda conn: conn.receive_until("x"), TypeError, "delimiter must be bytes"),
        (lambda conn: conn.receive_until(b""), ValueError, "delimiter must have at least one byte"),
        (lambda conn: conn.receive_until(b"x", max_bytes=0), ValueError, "max_bytes must be from 1 on"),
        (lambda conn: conn.send_file(io.StringIO("x")), TypeError, "binary mode"),
        (lambda conn: conn.send_file(io.BytesIO(b"x"), offset=-1), ValueError, "offset must be from 0 on"),
        (lambda conn: conn.send_file(io.BytesIO(b"x"), count=1.5), TypeError, "count must be an int"),
        (lambda conn: conn.start_tls("context"), TypeError, "tls must be an ssl.SSLContext"),
    ],
)
async def test_a_wrong_argument_is_named(both, call, error, text):
    with pytest.raises(error, match=text):
        await call(both[0])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda conn: conn.lines(max_bytes="1"), TypeError, "max_bytes must be an int"),
        (lambda conn: conn.frames(triosock.Netstrings), TypeError, "framer must have methods"),
        (lambda conn: conn.frames(b"\n"), TypeError, "framer must have methods"),
        (lambda conn: conn.request(timeout=float("nan")), ValueError, "timeout must be a number"),
    ],
)
async def test_a_wrong_argument_of_a_plain_method_is_named_at_once(both, call, error, text):
    with pytest.raises(error, match=text):
        call(both[0])


@pytest.mark.parametrize(
    "framer",
    [
        triosock.LengthPrefixed(2),
        triosock.LengthPrefixed(4, byteorder="little"),
        triosock.Netstrings(),
        triosock.Delimited(b"\r\n"),
        triosock.FixedSize(4),
    ],
)
async def test_frames_come_out_as_they_went_in(both, framer):
    one, other = both
    payloads = [b"abcd", b"efgh", b"ijkl"]
    await other.send_all(b"".join(framer.join(payload) for payload in payloads))
    await other.send_eof()
    assert [frame async for frame in one.frames(framer)] == payloads


async def test_a_stream_that_ends_inside_a_frame_is_incomplete(both):
    one, other = both
    await other.send_all(b"\0\5abc")
    await other.send_eof()
    with pytest.raises(triosock.Incomplete):
        await one.frames(triosock.LengthPrefixed(2)).__anext__()


async def test_many_buffered_lines_let_others_run_in_between(both):
    one, other = both
    await other.send_all(b"x\n" * 1000)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        lines = one.lines()
        await lines.__anext__()
        nursery.start_soon(count)
        for _ in range(999):
            await lines.__anext__()
        nursery.cancel_scope.cancel()
    # The counter may get its first and its last turn a little late.
    assert turns >= 999 // 16 - 2
