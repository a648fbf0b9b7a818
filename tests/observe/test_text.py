"""Words for people."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math

import hypothesis
import hypothesis.strategies as st
import pytest
import trio

import triosock
from triosock.observe import AccessLog, JsonFormatter, LogObserver, StatisticsObserver, Timeline
from triosock.observe.event_stream import event_fields
from triosock.observe.stepping.words import told
from triosock.observe.text import count, duration, error_text, printable, text_of
from triosock.testing import open_server


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0, "0 s"),
        (0.00034, "340 µs"),
        (0.00099949, "999 µs"),
        (0.0009996, "1 ms"),
        (0.0125, "12.5 ms"),
        (0.9996, "1 s"),
        (3.214, "3.21 s"),
        (250, "4 min 10 s"),
        (7500, "2 h 5 min"),
        (-2, "-2 s"),
        (math.inf, "no limit"),
        (math.nan, "-"),
    ],
)
def test_times(seconds, says):
    assert duration(seconds) == says


def test_counts():
    assert (count(1, "request"), count(12_000, "request"), count(2, "more", "more")) == (
        "1 request",
        "12,000 requests",
        "2 more",
    )


@hypothesis.given(st.text(max_size=400))
def test_whatever_comes_from_outside_becomes_one_printable_line(text):
    said = printable(text)
    assert said.isprintable()
    if len(text) <= 300 and text.isprintable():
        assert said == text


class Speechless(Exception):
    """What a handler may raise: its own text fails."""

    def __str__(self):
        raise TypeError("__str__ returned non-string")

    __repr__ = __str__


def test_what_has_no_text_has_one_here():
    assert text_of(Speechless()) == printable(Speechless()) == "<str() has raised TypeError>"
    assert error_text(Speechless()) == "Speechless: <str() has raised TypeError>"


class SpeechlessPeerError(triosock.PeerError):
    """The same, of what counts as the peer's fault."""

    __str__ = __repr__ = Speechless.__str__


async def fails(conn):
    raise Speechless


async def breaks_a_rule(conn):
    raise SpeechlessPeerError


def observers_with_words(lines):
    logger = logging.Logger("words")
    handler = logging.StreamHandler(io.StringIO())
    handler.emit = lambda record: lines.append(handler.format(record))
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    return {
        "the access log": AccessLog(lines.append, format="$cause $error"),
        "the access log as JSON": AccessLog(lines.append, format="json"),
        "the log as JSON": LogObserver(logger),
        "the stream of events": Words(lambda event: lines.append(json.dumps(event_fields(event)))),
        "the pages to step through": Words(lambda event: lines.append(told(event))),
    }


class Words:
    def __init__(self, on_event):
        self.on_event = on_event


@pytest.mark.parametrize("handler", [fails, breaks_a_rule])
@pytest.mark.parametrize("name", observers_with_words([]))
async def test_a_handler_whose_error_has_no_text_costs_no_observer(name, handler):
    lines, stays = [], StatisticsObserver()
    timeline = Timeline()
    observer = observers_with_words(lines)[name]
    async with open_server(handler, observers=[observer, timeline, stays]) as served:
        for _ in range(2):
            client = await served.connect()
            with contextlib.suppress(trio.BrokenResourceError):
                assert not await client.receive_some()
            await client.aclose()
        assert observer in served.server.observers
        assert timeline in served.server.observers
    assert stays.events["ObserverFailed"] == 0
    assert sum("has raised TypeError" in line or "object at 0x" in line for line in lines) >= 2


async def test_an_observer_that_cannot_be_named_does_not_take_the_log_with_it(caplog):
    class Nameless(Words):
        __repr__ = Speechless.__str__

    def fail(event):
        raise ValueError("full")

    caplog.set_level(logging.INFO, "triosock")
    async with open_server(fails, observers=[Nameless(fail)]):
        pass
    assert "Nameless object at 0x" in caplog.text
    assert "drained" in caplog.text  # the log goes on


def test_errors():
    assert error_text(None) is None
    assert error_text(ValueError()) == "ValueError"
    assert error_text(ValueError("a\nb")) == "ValueError: a\\nb"
