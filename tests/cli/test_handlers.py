"""The handlers to try a server with: each speaks its protocol, and is over when it is drained."""

from __future__ import annotations

import re

import pytest
import trio.testing

from triosock.cli import handlers

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.mark.parametrize(
    ("handler", "sent", "received"),
    [
        (handlers.echo, b"no newline", b"no newline"),
        (handlers.shout, b"hello\n", b"HELLO\n"),
        (handlers.discard, b"into the void", b""),
    ],
)
async def test_it_answers_and_a_drain_ends_it_between_two_requests(serving, dial, handler, sent, received):
    async with serving(handler) as server, await dial(server) as client:
        await client.send_all(sent)
        answer = b""
        while len(answer) < len(received):
            answer += await client.receive_some()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().idle == 1
        server.drain(grace=60)
        answer += await client.receive_some()  # the end
        assert answer == received
        await client.aclose()
        assert (await server.wait_closed()).finished == 1


@pytest.mark.parametrize("handler", [handlers.echo, handlers.shout, handlers.discard])
async def test_the_end_of_the_stream_ends_it(serving, dial, handler):
    async with serving(handler) as server, await dial(server) as client:
        await client.send_all(b"hello\n")
        await client.send_eof()
        async for _ in client:
            pass


async def test_daytime_tells_the_time_and_ends(serving, dial):
    async with serving(handlers.daytime) as server, await dial(server) as client:
        told = b"".join([data async for data in client])
    assert re.fullmatch(rb"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC\r\n", told)


def test_all_of_them_are_listed():
    found = {
        name
        for name, value in vars(handlers).items()
        if getattr(value, "__module__", "") == handlers.__name__
    }
    assert set(handlers.__all__) == {name for name in found if not name.startswith("_")}
