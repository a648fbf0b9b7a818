"""The way of a connection and of a drain, counted in calls: the core stays short enough to be followed.

A call is one of a function of the library; that of a coroutine counts once, however often it goes on.
"""

from __future__ import annotations

from types import FrameType

import trio
import trio.testing

import triosock
from tests.calls import Calls, file_of, is_inside
from tests.handlers import read_all, read_lines, say_bye
from tests.waiting import until

#: From the accept to the first line of the handler.
MOST_CALLS = 12
MOST_FILES = 8
#: From `Server.drain()` to the end of an idle wait, in the calling and in the server's own task.
MOST_HOPS = 7

TOLD = "_core/server/base_server.py:on_drain"
INTERRUPTED = "_core/registry/registry.py:interrupt"
TASK = "_core/stream/connection_task.py"


def is_on_the_way(frame: FrameType) -> bool:
    """Whether this is a call of the accept, of the admission, or of the connection's own task."""
    if is_inside(frame, "_admit") or is_inside(frame, "accept_nowait"):
        return True
    around: FrameType | None = frame
    while around is not None:
        if file_of(around) == TASK and around.f_code.co_name == "run":
            return True
        around = around.f_back
    return False


async def test_from_the_accept_to_the_handler(nursery):
    way: list[str] = []
    files: set[str] = set()
    calls = Calls(is_on_the_way)

    async def handler(conn):
        way.extend(calls.names)
        files.update(calls.files)

    server = await nursery.start(triosock.serve_tcp, handler, 0)
    await trio.testing.wait_all_tasks_blocked()
    with calls:  # the accept that finds nobody else is among them
        async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as client:
            assert await client.receive_some() == b""
    assert way[0] == "_core/listeners/listener.py:accept_nowait"
    assert way[-1] == f"{TASK}:run"
    assert 5 < len(way) <= MOST_CALLS, way
    assert len(files) <= MOST_FILES, files


async def test_one_function_is_the_life_of_a_connection(nursery):
    """All steps of a connection are called by `ConnectionTask.run`, in this order, and by nothing else."""
    steps: list[str] = []

    def is_step(frame: FrameType) -> bool:
        around = frame.f_back
        if around is not None and file_of(around) == TASK and around.f_code.co_name == "run":
            steps.append(frame.f_code.co_name)
        return False

    server = await nursery.start(triosock.serve_tcp, say_bye, 0)
    with Calls(is_step):
        async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as client:
            assert await read_all(client) == b"bye"
            await client.aclose()
            while server.statistics().active:
                await trio.testing.wait_all_tasks_blocked()
    assert steps == ["_has_to_linger", "_linger", "_close_and_unregister"]


async def test_from_a_drain_to_the_end_of_an_idle_wait(nursery):
    hops: dict[str, list[str]] = {}

    def note(frame: FrameType) -> bool:
        step = f"{file_of(frame)}:{frame.f_code.co_name}"
        if step in (TOLD, INTERRUPTED) and step not in hops:
            hops[step] = way_to(frame)
        return False

    server = await nursery.start(triosock.serve_tcp, read_lines, 0)
    async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as client:
        await client.send_all(b"hello\n")
        await until(lambda: server.statistics().received == 6)
        await trio.testing.wait_all_tasks_blocked()
        with Calls(note):
            server.drain()
            assert await client.receive_some() == b""
    assert list(hops) == [TOLD, INTERRUPTED]
    assert len(hops[TOLD]) + len(hops[INTERRUPTED]) <= MOST_HOPS, hops


def way_to(frame: FrameType | None) -> list[str]:
    """Return the calls of the library around a call, and this one, without those that serve anyway."""
    way: list[str] = []
    while frame is not None:
        if (file := file_of(frame)) and "serve" not in frame.f_code.co_name:
            way.insert(0, f"{file}:{frame.f_code.co_name}")
        frame = frame.f_back
    return way
