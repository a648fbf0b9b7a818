"""Which bar goes where, and what is said about it: the scripted run, looked at as values."""

from __future__ import annotations

from collections import deque

import attrs
import hypothesis
import hypothesis.strategies as st
import pytest

from tests.observe.runs import record_shop
from triosock import Cause
from triosock.observe.timeline.layout import ROOMY, lay_out, rows_of
from triosock.observe.timeline.model import Bar, Lane, Line, Run, Segment


@pytest.fixture(scope="module")
def picture():
    return record_shop().picture()


@pytest.fixture(scope="module")
def shop(picture):
    return picture.bands[0]


def box(band, number):
    return next(box for box in band.boxes if box.number == number)


def test_every_connection_is_a_bar_in_its_servers_lane(picture):
    assert [(band.title, len(band.boxes)) for band in picture.bands] == [
        ("shop on memory://shop", 8),
        ("raw on memory://raw", 2),
    ]
    assert picture.summary == "2 servers, 10 connections, 10 requests in 5 s"


def test_every_moment_of_a_bar_is_told_and_none_twice(picture):
    for band in picture.bands:
        for bar in band.boxes:
            ends = [bar.start, *(piece.end for piece in bar.pieces)]
            assert [piece.start for piece in bar.pieces] == pytest.approx(ends[:-1])
            assert ends[-1] == pytest.approx(bar.end)


def test_waiting_and_working_are_told_apart(shop):
    pieces = [(piece.kind, round(piece.start, 3), round(piece.end, 3)) for piece in box(shop, 1).pieces]
    assert pieces == [
        ("waiting", 0.1, 0.2),
        ("working", 0.2, 0.6),
        ("waiting", 0.6, 1.0),
        ("working", 1.0, 1.3),
        ("waiting", 1.3, 1.8),
        ("working", 1.8, 2.7),
        ("waiting", 2.7, 4.0),
    ]


def test_where_no_request_was_marked_nothing_is_claimed(picture):
    assert [piece.kind for piece in box(picture.bands[1], 1).pieces] == ["handler"]
    assert "no request marked" in box(picture.bands[1], 1).text


@pytest.mark.parametrize(
    ("number", "end", "when", "says"),
    [
        (1, "finished", 4.0, "finished: the handler returned"),
        (2, "finished", 3.2, "idle: it waited for longer than it may"),
        (3, "failed", 0.85, "ValueError: the <handler> & its \\x1b[31m error"),
        (4, "cut", 1.5, "request: its deadline was over"),
        (5, "peer", 2.0, "peer: it went away"),
        (7, "cut", 4.3, "drain deadline: still busy when the grace was over"),
        (8, "finished", 4.15, "1 request; waiting 100 ms, working 350 ms"),
    ],
)
def test_the_end_of_a_bar_has_its_cause(shop, number, end, when, says):
    bar = box(shop, number)
    assert (bar.end_kind, bar.end) == (end, pytest.approx(when))
    assert says in bar.text


@pytest.mark.parametrize(
    ("number", "when", "hit", "says"),
    [
        (2, 3.2, True, "Timeouts.idle"),
        (3, 1.6, False, "Timeouts.request"),
        (4, 1.5, True, "request"),
        (7, 4.3, True, "the end of the grace"),
        (8, 4.8, False, "Timeouts.request"),
    ],
)
def test_deadlines_are_marks(shop, number, when, hit, says):
    (due,) = box(shop, number).dues
    assert (due.time, due.hit) == (pytest.approx(when), hit)
    assert says in due.text


def test_a_deadline_beyond_the_picture_is_no_mark(shop):
    assert box(shop, 1).dues == ()


def test_drain_and_cancellation_are_lines_with_their_causes(picture):
    flags = [
        (flag.letter, flag.kind, pytest.approx(flag.time)) for band in picture.bands for flag in band.flags
    ]
    assert flags == [
        ("A", "drain", 4.0),
        ("B", "grace", 4.3),
        ("C", "closed", 4.3),
        ("D", "cancel", 5.0),
        ("E", "closed", 5.0),
    ]
    texts = [flag.text for band in picture.bands for flag in band.flags]
    assert "4 being served, 2 of them idle; grace 300 ms" in texts[0]
    assert "1 connection cut (drain deadline)" in texts[1]
    assert "3 finished, 0 failed, 0 left, 1 cancelled, 0 refused" in texts[2]
    assert "cancelled from around the server (parent): 1 connection" in texts[3]


def test_the_closing_bracket_stands_where_every_bar_has_ended(picture):
    for band in picture.bands:
        assert band.end is not None
        assert all(bar.end <= band.end for bar in band.boxes)
        assert all(shut <= band.end for _, shut in band.doors)


def test_the_doors_end_before_the_connections_in_a_drain(shop):
    assert shop.doors == ((0.0, pytest.approx(4.0)),)


def test_a_handshake_that_failed_is_no_deadline_but_a_late_one_is():
    def bar(number, error):
        segments = deque([Segment("handshake", 0.0, 1.0, Cause.HANDSHAKE)])
        return Bar(number, "p", 0.0, end=1.0, cause=Cause.HANDSHAKE, error=error, segments=segments)

    lane = Lane("s", 0.0, bars={1: bar(1, "SSLError: no"), 2: bar(2, "no handshake in time")})
    first, second = lay_out(Run((lane,), 1.0)).bands[0].boxes
    assert first.dues == ()
    assert [due.hit for due in second.dues] == [True]
    assert first.pieces[0].end_kind == second.pieces[0].end_kind == "failed"


def test_a_grace_that_nobody_needed_to_the_end_is_no_line():
    lane = Lane(
        "s", 0.0, end=1.0, grace_ends=2.0, lines=[Line(0.5, "drain", "drain"), Line(1.0, "drained", "")]
    )
    (band,) = lay_out(Run((lane,), 3.0)).bands
    assert [flag.word for flag in band.flags] == ["drain", "drained, closed"]
    stuck = attrs.evolve(lane, end=None, lines=lane.lines[:1])
    (band,) = lay_out(Run((stuck,), 3.0)).bands
    assert [flag.word for flag in band.flags] == ["drain", "grace over"]


def test_an_empty_run_is_a_picture_too():
    assert lay_out(Run((), 0.0)).summary == "0 servers, 0 connections, 0 requests in 0 s"


spans = st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers(0, 20)), max_size=120)


@hypothesis.given(spans)
def test_no_two_bars_of_a_row_overlap_and_rows_are_as_many_as_were_there_at_once(spans):
    bars = [
        Bar(number, "p", float(start), end=None if length is None else float(start + length))
        for number, (start, length) in enumerate(sorted(spans, key=lambda span: span[0]))
    ]
    rows = rows_of(bars, 100.0)
    if len(bars) <= ROOMY:
        assert rows == list(range(len(bars)))
        return
    for one, row in zip(bars, rows, strict=True):
        for other, same in zip(bars, rows, strict=True):
            if one is not other and row == same:
                early, late = sorted((one, other), key=lambda bar: (bar.start, bar.number))
                assert early.end is not None
                assert early.end <= late.start
    # Of no length and at one moment, they are there at once for a reader though not for a clock.
    assert max(rows) + 1 <= max(
        sum(b.start <= bar.start and (b.end is None or b.end >= bar.start) for b in bars) for bar in bars
    )
