"""The invariant: what is joined is split again, in whatever pieces it comes; what is incomplete stays, byte
for byte; and each byte is looked at a bounded number of times.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triosock._core.model.errors import FrameMalformed, FrameTooLarge
from triosock._core.protocols.framing import (
    Buffer,
    Delimited,
    FixedSize,
    Framer,
    LengthPrefixed,
    Netstrings,
    check_delimiter,
    check_framer,
    check_max_bytes,
)

EXAMPLES = [Delimited(b"\n"), FixedSize(3), LengthPrefixed(), Netstrings()]


def framer_and_payloads(framer: Any) -> st.SearchStrategy[tuple[Any, list[bytes]]]:
    payload = st.binary(max_size=40)
    if isinstance(framer, Delimited):
        payload = payload.filter(lambda data: not_ending_early(data, framer.delimiter))
    elif isinstance(framer, FixedSize):
        payload = st.binary(min_size=framer.size, max_size=framer.size)
    return st.tuples(st.just(framer), st.lists(payload, max_size=6))


def not_ending_early(data: bytes, delimiter: bytes) -> bool:
    # "a\r" + "\r\n\r\n" would end one byte early: the delimiter may begin in the payload.
    return (data + delimiter).find(delimiter) == len(data)


framers = st.one_of(
    st.binary(min_size=1, max_size=3).map(Delimited),
    st.integers(1, 10).map(FixedSize),
    st.builds(LengthPrefixed, st.integers(1, 8), byteorder=st.sampled_from(["big", "little"])),
    st.just(Netstrings()),
)
conversations = framers.flatmap(framer_and_payloads)
sizes = st.lists(st.integers(1, 30), min_size=1)


def pieces(stream: bytes, lengths: list[int]) -> list[bytes]:
    cut, at = [], 0
    while at < len(stream):
        size = lengths[len(cut) % len(lengths)]
        cut.append(stream[at : at + size])
        at += size
    return cut


@given(conversations, sizes)
def test_what_is_joined_is_split_again_in_any_pieces(
    conversation: tuple[Any, list[bytes]], lengths: list[int]
) -> None:
    framer, payloads = conversation
    buffer, got = Buffer(), []
    for piece in pieces(b"".join(framer.join(payload) for payload in payloads), lengths):
        buffer.feed(piece)
        while (payload := framer.split(buffer)) is not None:
            got.append(payload)
    assert got == payloads
    assert len(buffer) == 0


@given(conversations, st.binary(max_size=20))
def test_a_split_takes_its_frame_and_not_one_byte_behind_it(
    conversation: tuple[Any, list[bytes]], behind: bytes
) -> None:
    framer, payloads = conversation
    for payload in payloads:
        buffer = Buffer(framer.join(payload) + behind)
        assert framer.split(buffer) == payload
        assert bytes(buffer.data) == behind


@given(conversations)
def test_half_a_frame_stays_as_it_is(conversation: tuple[Any, list[bytes]]) -> None:
    framer, payloads = conversation
    for frame in map(framer.join, payloads):
        for size in range(len(frame)):
            buffer = Buffer(frame[:size])
            assert framer.split(buffer) is None
            assert bytes(buffer.data) == frame[:size]


@given(framers, st.binary(max_size=100))
def test_arbitrary_bytes_are_frames_or_an_error_of_the_peer(framer: Framer, data: bytes) -> None:
    buffer = Buffer(data)
    with contextlib.suppress(FrameMalformed, FrameTooLarge):
        while framer.split(buffer) is not None:
            pass


# The buffer


class Watched(bytearray):
    """Counts the bytes that are searched."""

    searched = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        self.searched += len(self) - start
        return super().find(sub, start)


@pytest.mark.parametrize("delimiter", [b"\n", b"\r\n", b"--end--"])
def test_a_long_line_in_tiny_pieces_is_searched_once_and_not_again_for_each_piece(delimiter: bytes) -> None:
    buffer = Buffer()
    watched = buffer.data = Watched()
    line = b"x" * 5_000 + delimiter
    for index in range(len(line)):
        assert buffer.take_through(delimiter, 10_000, "line") is None
        buffer.feed(line[index : index + 1])
    assert buffer.take_through(delimiter, 10_000, "line") == line
    assert watched.searched <= len(line) * (len(delimiter) + 1)


def test_many_short_lines_at_once_are_searched_no_further_than_their_own_end() -> None:
    starts: list[int] = []

    class Noting(bytearray):
        def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
            starts.append(start)
            return super().find(sub, start)

    buffer = Buffer()
    buffer.data = Noting(b"ab\n" * 100)
    for _ in range(100):
        assert buffer.take_through(b"\n", 10, "line") == b"ab\n"
    assert starts == [0] * 100


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_a_delimiter_that_comes_in_two_pieces_is_found(before: bytes, behind: bytes) -> None:
    for cut in range(5):
        buffer = Buffer(before + b"\r\n\r\n"[:cut])
        expected = (before + b"\r\n\r\n" + behind).find(b"\r\n\r\n") + 4
        if buffer.take_through(b"\r\n\r\n", 100, "head") is None:
            buffer.feed(b"\r\n\r\n"[cut:] + behind)
            assert len(buffer.take_through(b"\r\n\r\n", 100, "head") or b"") == expected


def test_what_was_searched_in_vain_for_one_delimiter_is_searched_again_for_another() -> None:
    buffer = Buffer(b"one;two")
    assert buffer.take_through(b"\n", 100, "line") is None
    assert buffer.take_through(b";", 100, "part") == b"one;"
    assert buffer.take_through(b"\n", 100, "line") is None
    assert buffer.take_through(b"w", 100, "part") == b"tw"


def test_taking_bytes_begins_the_search_anew() -> None:
    buffer = Buffer(b"abcdef")
    assert buffer.take_through(b"\n", 100, "line") is None
    assert buffer.take(4) == b"abcd"
    buffer.feed(b"\n")
    assert buffer.take_through(b"\n", 100, "line") == b"ef\n"


def test_take_returns_what_there_is_and_at_most_what_was_asked_for() -> None:
    buffer = Buffer(b"abc")
    assert buffer.take(2) == b"ab"
    assert buffer.take(2) == b"c"
    assert buffer.take(2) == b""
    assert len(buffer) == 0


def test_the_buffer_is_fed_with_any_kind_of_bytes() -> None:
    buffer = Buffer(b"a")
    for piece in (b"b", bytearray(b"c"), memoryview(b"d")):
        buffer.feed(piece)
    assert buffer.take(4) == b"abcd"


# The limit


@pytest.mark.parametrize("limit", [1, 2, 10, 1000])
def test_a_line_of_exactly_max_bytes_is_taken_and_one_more_is_too_large(limit: int) -> None:
    assert Buffer(b"x" * (limit - 1) + b"\n").take_through(b"\n", limit, "line") is not None
    for too_much in (b"x" * limit, b"x" * limit + b"\n"):
        with pytest.raises(FrameTooLarge, match=f"a line of more than {limit} bytes") as caught:
            Buffer(too_much).take_through(b"\n", limit, "line")
        assert caught.value.max_bytes == limit


def test_the_limit_is_told_before_the_payload_has_come() -> None:
    too_large: list[tuple[Any, bytes]] = [
        (LengthPrefixed(4, max_bytes=10), b"\0\0\0\x0b"),
        (LengthPrefixed(2, byteorder="little", max_bytes=10), b"\x0b\0"),
        (Netstrings(max_bytes=10), b"11:"),
        (Netstrings(max_bytes=10), b"100"),
        (Netstrings(max_bytes=9), b"10"),
        (Delimited(b"\0", max_bytes=5), b"abcde"),
    ]
    for framer, data in too_large:
        with pytest.raises(FrameTooLarge):
            framer.split(Buffer(data))


def test_a_payload_of_exactly_max_bytes_is_joined_and_split() -> None:
    for framer, size in (
        (LengthPrefixed(4, max_bytes=10), 10),
        (LengthPrefixed(1), 255),
        (Netstrings(max_bytes=10), 10),
        (Delimited(b"\r\n", max_bytes=10), 8),
    ):
        assert framer.split(Buffer(framer.join(b"x" * size))) == b"x" * size
        with pytest.raises(ValueError, match="more than max_bytes="):
            framer.join(b"x" * (size + 1))


@pytest.mark.parametrize(
    "data", [b"x", b":", b"1x", b"01:", b"00", b"-1:", b"+1:a,", b" 1:a,", b"5:helloX", b"0:;", b"\xb2:"]
)
def test_what_is_no_netstring_is_malformed_as_soon_as_it_shows(data: bytes) -> None:
    with pytest.raises(FrameMalformed, match="a netstring "):
        Netstrings().split(Buffer(data))


def test_netstrings_are_written_as_their_specification_says() -> None:
    assert Netstrings().join(b"hello world!") == b"12:hello world!,"
    assert Netstrings().join(b"") == b"0:,"
    assert Netstrings().split(Buffer(b"0:,")) == b""


def test_a_length_prefix_is_written_in_the_byte_order_that_was_asked_for() -> None:
    assert LengthPrefixed(2).join(b"abc") == b"\0\3abc"
    assert LengthPrefixed(2, byteorder="little").join(b"abc") == b"\3\0abc"


# Bad input


@pytest.mark.parametrize("framer", EXAMPLES)
def test_a_payload_that_is_no_bytes_is_a_type_error(framer: Any) -> None:
    for bad in ("abc", 3, None, [1, 2, 3]):
        with pytest.raises(TypeError, match="payload must be bytes, not"):
            framer.join(bad)
    assert framer.join(bytearray(b"abc")) == framer.join(memoryview(b"abc")) == framer.join(b"abc")


def test_a_payload_that_does_not_fit_its_framer_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="payload contains the delimiter"):
        Delimited(b"\n").join(b"a\nb")
    with pytest.raises(ValueError, match="payload must have 3 bytes, not 2"):
        FixedSize(3).join(b"ab")


def test_a_payload_that_would_complete_the_delimiter_early_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="or ends with half of one"):
        Delimited(b"--").join(b"x-")
    assert Delimited(b"\r\n").join(b"x\r") == b"x\r\r\n"


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Delimited("\n"), TypeError, "delimiter must be bytes, not '\\n' (a str needs .encode())"),
        (lambda: Delimited(None), TypeError, "delimiter must be bytes, not None"),
        (lambda: Delimited(b""), ValueError, "delimiter must have at least one byte"),
        (lambda: Delimited(b"\n", max_bytes=0), ValueError, "max_bytes must be from 1 on"),
        (lambda: FixedSize(0), ValueError, "size must be from 1 on"),
        (lambda: FixedSize("3"), TypeError, "size must be an int"),
        (lambda: FixedSize(True), TypeError, "size must be an int"),
        (lambda: LengthPrefixed(0), ValueError, "width must be from 1"),
        (lambda: LengthPrefixed(9), ValueError, "width must be from 1 to 8 bytes, not 9"),
        (lambda: LengthPrefixed(2.0), TypeError, "width must be an int"),
        (lambda: LengthPrefixed(byteorder="middle"), ValueError, "byteorder must be 'big' or 'little'"),
        (lambda: LengthPrefixed(max_bytes=-1), ValueError, "max_bytes must be from 1 on"),
        (lambda: Netstrings(max_bytes=1.5), TypeError, "max_bytes must be an int"),
    ],
)
def test_a_framer_that_cannot_work_is_an_error_that_names_the_argument(
    make: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        make()


def test_the_checks_return_what_they_accept() -> None:
    assert check_max_bytes(1) == 1
    assert check_delimiter(b"\r\n") == b"\r\n"
    for framer in EXAMPLES:
        assert check_framer(framer) is framer


@pytest.mark.parametrize("bad", [None, b"\n", "\n", bytearray(), Netstrings, 4, lambda buffer: None])
def test_what_is_no_framer_is_a_type_error_that_shows_one(bad: Any) -> None:
    with pytest.raises(
        TypeError, match=r"framer must have methods split and join, such as triosock\.LengthPrefixed"
    ):
        check_framer(bad)


def test_framers_are_frozen_values() -> None:
    for framer in EXAMPLES:
        assert attrs.evolve(framer) == framer
        assert len({framer, attrs.evolve(framer)}) == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        FixedSize(3).size = 4  # type: ignore[misc]
