"""Every kind of listener is used by the same two calls, and has one owner. Real sockets, and a
listener of no kind known.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Any
from unittest.mock import Mock, patch

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import shout
from tests.listening import close_while_waited_for, say_hello
from tests.servers import drained, running
from tests.tls import client_context, server_context
from triosock._core.listeners.listener import SocketListener, adopt, open_tcp_listeners
from triosock._core.model.addresses import MemoryAddress
from triosock._core.stream.server import StreamServer
from triosock.testing import MemoryListener

LOCAL = "127.0.0.1"


pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_a_listening_socket_is_adopted_and_works(stdlib_socket: socket.socket) -> None:
    listener = adopt(stdlib_socket)
    assert isinstance(listener, SocketListener)
    assert listener.socket is stdlib_socket
    await say_hello(listener, LOCAL, stdlib_socket.getsockname()[1])
    listener.close()


async def test_a_trio_listener_is_adopted_and_left_closed() -> None:
    (theirs,) = await trio.open_tcp_listeners(0, host=LOCAL)
    listener = adopt(theirs)
    assert isinstance(listener, SocketListener)
    assert theirs.socket.fileno() == -1
    await say_hello(listener, LOCAL, listener.socket.getsockname()[1])
    listener.close()


async def test_a_socket_of_trio_is_adopted_and_left_closed() -> None:
    theirs = trio.socket.socket()
    await theirs.bind((LOCAL, 0))
    theirs.listen()
    listener = adopt(theirs)
    assert isinstance(listener, SocketListener)
    assert theirs.fileno() == -1
    await say_hello(listener, LOCAL, listener.socket.getsockname()[1])
    listener.close()


async def test_a_socket_of_trio_that_does_not_listen_is_left_to_its_owner() -> None:
    with trio.socket.socket() as theirs, trio.socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(ValueError, match="does not listen: call listen"):
            adopt(theirs)
        with pytest.raises(ValueError, match="needs a stream socket, not SOCK_DGRAM"):
            adopt(datagrams)
        assert min(theirs.fileno(), datagrams.fileno()) >= 0


async def test_a_listener_of_ours_is_adopted_as_it_is() -> None:
    (listener,) = await open_tcp_listeners(0, host=LOCAL)
    assert adopt(listener) is listener
    listener.close()


@pytest.mark.parametrize("bad", [None, 5, "tcp://127.0.0.1:80", SocketListener])
def test_what_is_no_listener_is_a_type_error(bad: Any) -> None:
    with pytest.raises(TypeError, match="listeners must be triosock or trio listeners, or listening sockets"):
        adopt(bad)


def test_a_socket_that_does_not_listen_or_is_no_stream_is_refused_and_left_to_its_owner() -> None:
    with socket.socket() as sock:
        sock.bind((LOCAL, 0))
        with pytest.raises(ValueError, match="does not listen: call listen"):
            adopt(sock)
        assert sock.fileno() >= 0
    with (
        socket.socket(type=socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="needs a stream socket, not SOCK_DGRAM"),
    ):
        adopt(sock)
    with pytest.raises(TypeError, match=r"a listener needs a socket\.socket"):
        SocketListener(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [socket.socket, trio.socket.socket])
async def test_a_closed_socket_is_an_error_of_the_system(make: Any) -> None:
    sock = make()
    sock.close()
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        adopt(sock)


async def test_a_family_without_an_address_is_refused_and_left_to_its_owner() -> None:
    (theirs,) = await trio.open_tcp_listeners(0, host=LOCAL)
    async with theirs:
        with (
            patch.object(type(theirs.socket), "family", 40),
            pytest.raises(ValueError, match="socket family 40 is none of"),
        ):
            adopt(theirs)
        assert theirs.socket.fileno() >= 0


async def test_under_tls_a_family_without_an_address_is_served() -> None:
    (plain,) = await trio.open_tcp_listeners(0, host=LOCAL)
    theirs = trio.SSLListener(plain, server_context())
    port, seen = plain.socket.getsockname()[1], []

    async def note(conn: triosock.Connection) -> None:
        seen.extend([conn.peer, conn.local])
        await conn.send_all(b"fine")

    with patch.object(type(plain.socket), "family", 40):
        async with running(triosock.serve_listeners, note, [theirs]) as server:
            assert server.addresses == (MemoryAddress("SSLListener"),)
            async with await trio.open_tcp_stream(LOCAL, port) as stream:
                client = trio.SSLStream(stream, client_context(), server_hostname="localhost")
                assert await client.receive_some() == b"fine"
            await drained(server)
    assert seen == [MemoryAddress("SSLStream")] * 2


class Foreign(trio.abc.Listener[trio.abc.Stream]):
    """A trio listener of somebody else's making."""

    def __init__(self, *, fails: bool = False) -> None:
        self.send, self.receive = trio.open_memory_channel[trio.abc.Stream](10)
        self.closed = False
        self._fails = fails

    async def accept(self) -> trio.abc.Stream:
        return await self.receive.receive()

    async def aclose(self) -> None:
        self.closed = True
        self.receive.close()
        self.send.close()
        if self._fails:
            raise ValueError("planned")
        await trio.lowlevel.checkpoint()


async def test_any_other_trio_listener_keeps_what_it_accepted_until_there_is_room() -> None:
    foreign = Foreign()
    listener = adopt(foreign)
    assert listener.address == MemoryAddress("Foreign")
    ours, theirs = trio.testing.memory_stream_pair()
    with pytest.raises(trio.WouldBlock):
        listener.accept_nowait()
    foreign.send.send_nowait(theirs)
    await listener.wait_ready()
    await listener.wait_ready()
    assert listener.accept_nowait() == (theirs, None)
    foreign.send.send_nowait(theirs)
    assert await listener.accept() is theirs
    await listener.aclose()
    assert foreign.closed
    await trio.aclose_forcefully(ours)


async def test_closing_any_other_trio_listener_wakes_whoever_waits_and_aclose_closes_what_was_kept() -> None:
    foreign = Foreign()
    listener = adopt(foreign)
    await close_while_waited_for(listener)
    with pytest.raises(trio.ClosedResourceError):
        await listener.wait_ready()
    assert listener.is_closed
    assert not foreign.closed

    kept = Foreign()
    listener = adopt(kept)
    _, theirs = trio.testing.memory_stream_pair()
    kept.send.send_nowait(theirs)
    await listener.wait_ready()
    await listener.aclose()
    assert kept.closed
    with pytest.raises(trio.ClosedResourceError):
        await theirs.send_all(b"x")


async def test_being_cancelled_while_waiting_is_no_closing() -> None:
    listener = adopt(Foreign())
    with trio.move_on_after(0):
        await listener.wait_ready()
    assert not listener.is_closed
    await listener.aclose()


# Served


async def test_a_listener_of_another_make_is_closed_when_the_drain_begins_and_not_at_its_end(autojump_clock):
    foreign, ours = Foreign(), MemoryListener()

    async def handler(conn):
        await trio.sleep(1)
        seen.append(foreign.closed)

    seen = []
    async with trio.open_nursery() as nursery:
        server = await nursery.start(triosock.serve_listeners, handler, [foreign, ours])
        async with await ours.connect():
            await trio.testing.wait_all_tasks_blocked()
            await drained(server)
    assert seen == [True]


async def test_a_server_is_closed_when_a_listener_cannot_be_closed_and_the_others_are():
    first, failing, last = Foreign(), Foreign(fails=True), Foreign()
    servers = []

    async def serve(*, task_status):
        with pytest.raises(ValueError, match="planned"):
            await triosock.serve_listeners(shout, [first, failing, last], task_status=task_status)

    async with trio.open_nursery() as nursery:
        servers.append(await nursery.start(serve))
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        report = await servers[0].wait_closed()
    assert not report.drained
    assert first.closed
    assert last.closed


@pytest.mark.parametrize("kind", ["tcp", "memory"])
async def test_what_was_accepted_is_closed_if_its_task_cannot_be_started(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StreamServer, "_start", Mock(side_effect=ValueError("planned")))
    memory = MemoryListener()
    listener = memory if kind == "memory" else (await open_tcp_listeners(0, host=LOCAL))[0]
    clients: list[trio.abc.Stream] = []
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="planned"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(triosock.serve_listeners, shout, [listener])
            clients.append(
                await memory.connect()
                if kind == "memory"
                else await trio.open_tcp_stream(LOCAL, listener.address.port)
            )
            await trio.sleep_forever()
    (client,) = clients
    async with client:
        with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
            assert await client.receive_some() == b""
