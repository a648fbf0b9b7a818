"""Mistakes of beginners that have nothing to do with sockets, and the errors that explain them."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trio.testing

import triosock
from tests.handlers import shout
from tests.servers import drained, running
from triosock import compat
from triosock._core.model.trio_version import TRIO, check_trio
from triosock.testing import DatagramNetwork, MemoryListener

ROOT = Path(__file__).parents[2]


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
        async with running(triosock.serve_datagram_sockets, shout, sockets):
            pass

    with pytest.warns(RuntimeWarning, match="an autojump clock does not see bytes"):
        trio.run(main, False, clock=trio.testing.MockClock(autojump_threshold=0))
    trio.run(main, True, clock=trio.testing.MockClock(autojump_threshold=0))


def serve_with(clock: trio.abc.Clock, listener: Any) -> None:
    async def main() -> None:
        async with running(triosock.serve_listeners, shout, [listener]):
            pass

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
        name = method.__name__
        wanted = rf"^{name}\(\) belongs to the thread that runs trio: .*run_sync\({of}.{name}, "
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


async def over(thing: Any) -> None:
    for _ in thing:
        raise AssertionError("it cannot be")


async def within(thing: Any) -> None:
    with thing:
        raise AssertionError("it cannot be")


async def within_async(thing: Any) -> None:
    async with thing:
        raise AssertionError("it cannot be")


async def awaited(thing: Any) -> None:
    await thing


FRAMER = triosock.Netstrings()


@pytest.mark.parametrize(
    ("use", "make", "instead"),
    [
        (over, lambda conn, _: conn.lines(), "async for line in conn.lines():"),
        (over, lambda conn, _: conn.frames(FRAMER), "async for frame in conn.frames(framer):"),
        (over, lambda conn, _: conn, "async for data in conn:"),
        (over, lambda _, session: session, "async for data in session:"),
        (over, lambda *_: triosock.Broadcast[int]().join(), "async for value in inbox:"),
        (awaited, lambda conn, _: conn.lines(), "async for line in conn.lines():"),
        (awaited, lambda conn, _: conn.frames(FRAMER), "async for frame in conn.frames(framer):"),
        (within, lambda conn, _: conn, "async with conn:"),
        (within, lambda conn, _: conn.request(), "async with conn.request():"),
        (within_async, lambda conn, _: conn.idle(), "with conn.idle():"),
        (within_async, lambda *_: triosock.Broadcast[int]().join(), "with room.join() as inbox:"),
        (within_async, lambda *_: triosock.DrainScope(), "with triosock.DrainScope() as scope:"),
    ],
)
async def test_the_wrong_form_of_for_with_and_await_is_answered_by_the_right_one(
    use: Any, make: Any, instead: str
) -> None:
    async def handle(session: triosock.Session) -> None:
        told.append(session)

    _, stream = trio.testing.memory_stream_pair()
    told: list[Any] = []
    network = DatagramNetwork()
    sockets, sessions = [network.open("server")], triosock.Sessions()
    async with running(triosock.serve_datagram_sockets, handle, sockets, sessions=sessions) as server:
        await network.open("client").send(b"x", server.addresses[0])
        await trio.testing.wait_all_tasks_blocked()
        await drained(server)
    with pytest.raises(TypeError) as caught:
        await use(make(triosock.Connection(stream), told[0]))
    assert str(caught.value) == f"write `{instead}`"


def error_of(program: str) -> str:
    """Run it as a program of its own, which fails; return the last line of what it says."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["triosock", "triosock.compat", "triosock.observe", "triosock.testing"])
def test_a_trio_that_is_too_old_is_named_with_what_to_do(name: str) -> None:
    program = (
        "import importlib, trio; trio.__version__ = '0.30.2'\n"
        f"module = importlib.import_module({name!r}); [getattr(module, one) for one in dir(module)]"
    )
    assert error_of(program) == (
        f"ImportError: triosock needs trio 0.31 or newer, and {trio.__file__} is trio 0.30.2: "
        "python -m pip install --upgrade trio"
    )


def test_it_is_the_trio_that_the_package_asks_for() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = next(one for one in pyproject["project"]["dependencies"] if one.startswith("trio"))
    assert asked == f"trio>={'.'.join(map(str, TRIO))}"


@pytest.mark.parametrize(("version", "is_old"), [("0.30.0", True), ("0.31.0", False), ("1.0+dev", False)])
def test_versions_are_compared_by_their_numbers(
    version: str, is_old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trio, "__version__", version)
    with pytest.raises(ImportError) if is_old else contextlib.nullcontext():
        check_trio()


def test_a_name_that_is_only_the_beginning_of_others_is_answered_by_these() -> None:
    program = "import triosock; triosock.serve"
    last = error_of(program)
    assert last.startswith("AttributeError: module 'triosock' has no attribute 'serve': it has serve_data")
    assert last.endswith(", serve_workers")  # and nothing that Python has guessed
    with pytest.raises(AttributeError, match=r"^module 'triosock' has no attribute '_x'$"):
        triosock._x  # noqa: B018


@pytest.mark.parametrize(
    ("options", "instead"),
    [
        ({"timeouts": 5}, r"not 5: write timeouts=triosock\.Timeouts\(idle=5\)"),
        ({"limits": 3}, r"not 3: write limits=triosock\.Limits\(max_connections=3\)"),
        ({"limits": {"rate": 3}}, r"write limits=triosock\.Limits\(\*\*…\)"),
        ({"timeouts": "5"}, r"not '5'$"),
    ],
)
async def test_a_number_or_a_dict_in_the_place_of_limits_is_answered(options: Any, instead: str) -> None:
    with pytest.raises(TypeError, match=instead):
        await triosock.serve_listeners(shout, [MemoryListener()], **options)


@pytest.mark.parametrize("serve", [triosock.serve_tcp, triosock.serve_udp])
async def test_an_address_in_the_place_of_a_port_is_answered(serve: Any) -> None:
    with pytest.raises(TypeError, match=r"not \('::1', 9999\): write 9999, host='::1'"):
        await serve(shout, ("::1", 9999))


async def test_a_coroutine_that_is_sent_lacks_its_await() -> None:
    _, stream = trio.testing.memory_stream_pair()
    conn = triosock.Connection(stream)
    with pytest.raises(TypeError, match=r"not coroutine; write `await` before receive_some\(…\)$"):
        await conn.send_all(conn.receive_some())  # type: ignore[arg-type]


class Quiet:
    def on_event(self, event: object) -> None: ...


@pytest.mark.parametrize(
    ("serve", "args"),
    [
        (triosock.serve_listeners, (shout, [MemoryListener()])),
        (triosock.serve_datagram_sockets, (shout, [DatagramNetwork().open("one")])),
        (compat.serve, ()),
    ],
)
async def test_one_observer_without_a_list_is_answered(serve: Any, args: tuple[Any, ...]) -> None:
    with compat.UDPServer(("127.0.0.1", 0), compat.BaseRequestHandler) as server:
        with pytest.raises(TypeError, match="observers must be several observers in a list, not <"):
            await serve(*(args or (server,)), observers=Quiet())


async def test_listeners_without_await_are_answered() -> None:
    with pytest.raises(TypeError, match=r"in a list; write `await` before open_tcp_listeners\(…\)$"):
        await triosock.serve_listeners(shout, triosock.open_tcp_listeners(0))  # type: ignore[arg-type]


def test_a_python_that_is_too_old_is_named() -> None:
    program = "import sys; sys.version_info = (3, 10, 13, 'final', 0); import triosock"
    assert error_of(program) == (
        f"ImportError: triosock needs Python 3.11 or newer, and {sys.executable} is Python 3.10.13: "
        "start your program with a newer one"
    )
