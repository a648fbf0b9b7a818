"""Events as they happen, at the control socket."""

from __future__ import annotations

import json
import math
import time
from functools import partial

import pytest
import trio

import triosock
from tests.event_readers import read, reading
from tests.handlers import ask_line, shout
from tests.waiting import PATIENCE, until
from triosock._core.model import events
from triosock._core.model.emitter import watchers
from triosock.observe import serve_control
from triosock.observe.event_stream import MAX_PENDING, EventStream, event_fields


async def serving(nursery, name):
    return await nursery.start(partial(triosock.serve_tcp, shout, 0, host="127.0.0.1", name=name))


async def talk(server):
    (address,) = server.addresses
    async with triosock.Connection(await trio.open_tcp_stream(address.host, address.port)) as client:
        assert await ask_line(client, b"hello\n") == b"HELLO\n"


async def test_what_happens_at_servers_old_and_new_is_told(control, nursery):
    old = await serving(nursery, "old")
    async with reading(control, kinds=["ServerStarted", "ConnectionOpened", "ConnectionClosed"]) as conn:
        began = time.time()
        await talk(old)
        opened, closed = await read(conn, 2)
        assert (opened["event"], opened["server"], opened["connection"]) == ("ConnectionOpened", "old", 1)
        assert opened["peer"].startswith("tcp://127.0.0.1:")
        assert closed["event"] == "ConnectionClosed"
        assert (closed["cause"], closed["received"], closed["sent"], closed["error"]) == (
            "finished",
            6,
            6,
            None,
        )
        assert began - 1 < opened["time"] <= closed["time"] < time.time() + 1
        new = await serving(nursery, "new")
        await talk(new)
        assert [(one["event"], one["server"]) for one in await read(conn, 3)] == [
            ("ServerStarted", "new"),
            ("ConnectionOpened", "new"),
            ("ConnectionClosed", "new"),
        ]


async def test_it_tells_nothing_of_its_own_server_and_leaves_nothing_attached(control, nursery):
    server = await serving(nursery, "one")
    async with reading(control) as conn:
        async with triosock.Connection(await trio.open_unix_socket(control)) as other:
            await other.send_all(b'{"want": "tree"}\n')
            await other.receive_until(b"\n")
        await nursery.start(serve_control, control.parent / "another")
        await talk(server)
        first, *_, last = await read(conn, 5)
        assert (first["event"], first["server"]) == ("ConnectionOpened", server.name)
        assert last["event"] == "ConnectionClosed"
    await until(lambda: not watchers)
    attached = len(server.observers)
    await talk(server)  # at its next event it is taken off
    assert len(server.observers) == attached - 1


@pytest.mark.parametrize("kinds", ["ConnectionClosed", [1], ["Nonsense"], {}, [["ConnectionClosed"]], [{}]])
async def test_names_of_no_events_are_refused(control, kinds):
    async with triosock.Connection(await trio.open_unix_socket(control)) as conn:
        await conn.send_all(json.dumps({"want": "events", "kinds": kinds}).encode() + b"\n")
        assert b"kinds is a list of names of events" in await conn.receive_until(b"\n")


async def test_a_slow_reader_loses_events_and_is_told_how_many():
    stream = EventStream()
    with stream.listening():
        for number in range(MAX_PENDING + 7):
            stream.put({"event": "Some", "number": number})
        lines = [json.loads(line) for line in (await stream.receive()).splitlines()]
    assert lines[0]["event"] == "EventsFollow"
    assert [one["number"] for one in lines[1:-1]] == list(range(MAX_PENDING - 1))
    assert (lines[-1]["event"], lines[-1]["count"]) == ("EventsLost", 8)


async def test_events_of_other_threads_wake_the_reader():
    stream = EventStream()
    with stream.listening(), trio.fail_after(PATIENCE):
        await stream.receive()
        await trio.to_thread.run_sync(stream.put, {"event": "Far"})
        assert json.loads(await stream.receive()) == {"event": "Far"}


@pytest.mark.parametrize(
    ("fields", "plain"),
    [
        ({"error": ValueError("a\x1b[2Jb"), "peer": "p"}, "ValueError: a\\x1b[2Jb"),
        ({"error": None, "peer": "p"}, None),
    ],
)
def test_fields_are_what_json_can_say(fields, plain):
    event = events.HandshakeRefused(server="s", time=1.0, connection=3, **fields)
    assert json.loads(json.dumps(event_fields(event)))["error"] == plain


def test_an_infinite_time_is_null():
    timeouts = triosock.Timeouts(idle=math.inf)
    event = events.ServerStarted(server="s", time=1.0, addresses=(), timeouts=timeouts)
    fields = json.loads(json.dumps(event_fields(event), allow_nan=False))
    assert fields["timeouts"]["idle"] is None
    assert fields["timeouts"]["handshake"] == triosock.Timeouts().handshake


async def test_what_the_reader_does_not_want_is_not_even_made(control, nursery):
    server = await serving(nursery, "one")
    assert not server.observers.wants_requests
    async with reading(control, kinds=["ConnectionClosed"]):
        assert not server.observers.wants_requests
    async with reading(control, kinds=["ConnectionEvent"]) as conn:
        assert server.observers.wants_requests  # a base class stands for all that are made of it
        await talk(server)
        told = [one["event"] for one in await read(conn, 5)]
    assert told == [
        "ConnectionOpened",
        "HandlerStarted",
        "RequestStarted",
        "RequestFinished",
        "ConnectionClosed",
    ]
