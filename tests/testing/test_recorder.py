"""The recorder: all events in their order, and a wait without a sleep."""

import pytest
import trio
import trio.testing

from tests.handlers import say_bye
from triosock._core.model.events import (
    ConnectionClosed,
    ConnectionEvent,
    ConnectionOpened,
    HandlerStarted,
    ServerClosed,
    ServerStarted,
)
from triosock.testing import Recorder, open_server


async def test_it_keeps_events_in_their_order(autojump_clock):
    recorder = Recorder()
    async with open_server(say_bye, observers=[recorder]) as served:
        client = await served.connect()
        assert await client.receive_some() == b"bye"
    names = [type(event) for event in recorder.events]
    assert names[0] is ServerStarted
    assert names[-1] is ServerClosed
    kinds = [type(event) for event in recorder.of(ConnectionEvent)]
    assert kinds == [ConnectionOpened, HandlerStarted, ConnectionClosed]
    recorder.clear()
    assert recorder.of(ServerStarted) == []


async def test_it_may_want_only_some(autojump_clock):
    recorder = Recorder(ConnectionOpened)
    async with open_server(say_bye, observers=[recorder]) as served:
        await served.connect()
        await recorder.wait_for(ConnectionOpened)
    assert len(recorder.events) == 1


async def test_wait_for_returns_the_event_that_was_asked_for(autojump_clock):
    async with open_server(say_bye) as served:
        for _ in range(2):
            await served.connect()
        event = await served.recorder.wait_for(ConnectionOpened, 2)
        assert event.connection == 2
        with trio.testing.assert_checkpoints():
            assert (await served.recorder.wait_for(ConnectionOpened)).connection == 1


@pytest.mark.parametrize("kind", [int, "ServerStarted", ServerStarted(server="x", time=0, addresses=())])
def test_what_is_no_event_class_is_named(kind):
    with pytest.raises(TypeError, match="event classes"):
        Recorder(kind)
