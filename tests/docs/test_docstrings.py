"""The examples in docstrings, which the reference shows, are run."""

from __future__ import annotations

import inspect
import os
import re
import textwrap

import pytest
import trio

import triosock
import triosock.compat
import triosock.dtls
import triosock.events
import triosock.identity
import triosock.observe
import triosock.testing
from tests.handlers import ask
from tests.servers import connected
from triosock._core.model.emitter import watchers
from triosock.testing import open_server

MODULES = (
    triosock, triosock.observe, triosock.testing, triosock.events, triosock.compat, triosock.dtls,
    triosock.identity,
)  # fmt: skip


def examples():
    """Return the block after each `::` in a public docstring, by the name of what has it."""
    found = {}
    for module in MODULES:
        for name in module.__all__:
            thing = getattr(module, name)
            members = vars(thing).items() if isinstance(thing, type) else ()
            own = [(f"{name}.{inner}", one) for inner, one in members if not inner.startswith("_")]
            for full, one in [(name, thing), *own]:
                block = re.search(r"::\n\n((?:    .*\n|\n)+)", (inspect.getdoc(one) or "") + "\n")
                if block and (isinstance(one, type) or callable(one)):
                    found[full] = textwrap.dedent(block[1])
    return found


def as_function(block, **names):
    """Return the block as an async function without arguments, which returns its variables."""
    names = {"triosock": triosock, **names}
    exec("async def block():\n" + textwrap.indent(block, "    ") + "    return locals()\n", names)
    return names["block"]


def test_every_example_is_run_below():
    assert set(examples()) == {
        "Connection.idle", "DatagramHandler", "DrainScope", "Recorder", "StreamHandler", "Timeline",
    }  # fmt: skip


async def test_an_idle_block():
    heard = []

    async def handler(conn):
        heard.append(await as_function(examples()["Connection.idle"], conn=conn)())

    async with connected(handler) as (_, client):
        assert await ask(client, b"hello") == b""
    assert heard[0]["data"] == b"hello"


@pytest.mark.parametrize(
    ("name", "open_it"), [("StreamHandler", trio.open_tcp_stream), ("DatagramHandler", None)]
)
async def test_a_handler_class(name, open_it):
    block = as_function(examples()[name].replace("9999", "0"))
    recorder = triosock.testing.Recorder(triosock.events.ServerStarted)
    watchers.append(lambda: recorder)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            started = await recorder.wait_for(triosock.events.ServerStarted)
            port = started.addresses[0].port
            if open_it is not None:
                async with await open_it("127.0.0.1", port) as client:
                    assert await ask(client, b"hello\n") == b"HELLO\n"
            else:
                with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as client:
                    await client.connect(("127.0.0.1", port))
                    await client.send(b"hello")
                    assert await client.recv(100) == b"HELLO"
            nursery.cancel_scope.cancel()
    finally:
        watchers.pop()


async def test_a_drain_scope():
    scope = (await as_function(examples()["DrainScope"])())["scope"]
    assert scope.draining


@pytest.mark.parametrize("name", ["Recorder", "Timeline"])
def test_a_timeline_and_a_recorder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def nothing(conn):
        pass

    async def main():
        async with open_server(nothing):
            pass

    exec(examples()[name], {"triosock": triosock, "trio": trio, "main": main})
    assert os.path.getsize("run.html") > 1000
