"""Mistakes of the first hour that have nothing to do with a socket, and what they are answered with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import trio.testing

import triosock
from tests.handlers import shout
from triosock.testing import DatagramNetwork, MemoryListener


@pytest.mark.parametrize(
    "call",
    [
        lambda: triosock.serve_tcp(shout, 0),
        lambda: triosock.serve_unix(shout, "x"),
        lambda: triosock.serve_listeners(shout, []),
        lambda: triosock.serve_udp(shout, 0),  # type: ignore[arg-type]
        lambda: triosock.open_tcp_listeners(0),
        lambda: triosock.open_udp_sockets(0),
    ],
)
def test_under_asyncio_it_is_said_that_this_is_a_trio_library(call: Any) -> None:
    with pytest.raises(RuntimeError, match="This is a trio library"):
        asyncio.run(call())


def test_datagrams_of_real_sockets_are_warned_of_too() -> None:
    async def main(network: bool) -> None:
        sockets: list[Any] = [DatagramNetwork().open("server")]
        if not network:
            sockets = list(await triosock.open_udp_sockets(0, host="127.0.0.1"))
        async with trio.open_nursery() as nursery:
            server = await nursery.start(triosock.serve_datagram_sockets, shout, sockets)
            server.drain()

    with pytest.warns(RuntimeWarning, match="an autojump clock does not see bytes"):
        trio.run(main, False, clock=trio.testing.MockClock(autojump_threshold=0))
    trio.run(main, True, clock=trio.testing.MockClock(autojump_threshold=0))


def serve_with(clock: trio.abc.Clock, listener: Any) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(triosock.serve_listeners, shout, [listener])
            server.drain()

    trio.run(main, clock=clock)


def test_a_clock_that_jumps_is_warned_of_with_real_sockets_only() -> None:
    async def listen() -> Any:
        return (await triosock.open_tcp_listeners(0, host="127.0.0.1"))[0]

    jumping = trio.testing.MockClock(autojump_threshold=0)
    with pytest.warns(RuntimeWarning, match="an autojump clock does not see bytes"):
        serve_with(jumping, trio.run(listen))
    serve_with(trio.testing.MockClock(autojump_threshold=0), MemoryListener())
    serve_with(trio.testing.MockClock(rate=1), trio.run(listen))
