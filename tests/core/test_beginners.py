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


class TestFromAnotherThread:
    """Every method that only the trio thread may call says so, and how to call it instead."""

    async def refuses(self, of: str, method: Any) -> None:
        wanted = rf"^{method.__name__}\(\) belongs to the thread that runs trio: .*run_sync\({of}.{method.__name__}, "
        with pytest.raises(RuntimeError, match=wanted):
            await trio.to_thread.run_sync(method)

    @pytest.mark.parametrize("method", ["drain", "suspend", "resume", "statistics"])
    @pytest.mark.parametrize("kind", ["stream", "datagram"])
    async def test_of_a_server(self, kind: str, method: str) -> None:
        async with trio.open_nursery() as nursery:
            if kind == "stream":
                server: Any = await nursery.start(triosock.serve_listeners, shout, [MemoryListener()])
            else:
                socket = DatagramNetwork().open("server")
                server = await nursery.start(triosock.serve_datagram_sockets, shout, [socket])
            await self.refuses("server", getattr(server, method))
            assert not server.draining
            assert not server.statistics().suspended
            server.drain()
        await trio.to_thread.run_sync(server.statistics)  # nothing of it changes any more

    async def test_of_a_connection(self) -> None:
        _, stream = trio.testing.memory_stream_pair()
        conn = triosock.Connection(stream)

        def set_timeouts() -> None:
            conn.set_timeouts(idle=5)

        before = conn.timeouts
        await self.refuses("conn", set_timeouts)
        assert conn.timeouts is before

    async def test_of_a_broadcast(self) -> None:
        room: triosock.Broadcast[int] = triosock.Broadcast()

        def send_nowait() -> None:
            room.send_nowait(1)

        with room.join() as inbox:
            await self.refuses("room", send_nowait)
            assert inbox.pending == 0


async def returns_5() -> int:
    return 5


def test_run_in_a_trio_program_says_what_to_do_instead() -> None:
    async def main() -> None:
        triosock.run(returns_5)

    with pytest.raises(RuntimeError, match=r"trio runs here already: await the function itself"):
        trio.run(main)


def test_run_in_an_asyncio_program_says_what_to_do_instead() -> None:
    async def main() -> None:
        triosock.run(returns_5)

    with pytest.raises(RuntimeError, match=r"asyncio runs here already.*: call triosock\.run"):
        asyncio.run(main())
    assert triosock.run(returns_5) == 5  # asyncio is imported, and does not run
