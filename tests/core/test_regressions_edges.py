"""Bugs that were found by reading: what a connection knows, what is kept of it, and what a mistake leaves."""

from __future__ import annotations

import bz2
import functools
import gc
import gzip
import lzma
import signal
import socket
import threading
import weakref

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import shout
from tests.pairs import memory_pair, pair
from triosock import Cause, Limits, Timeouts
from triosock.testing import open_server

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_limits_per_peer_need_no_unix_sockets(serving, dial, monkeypatch):
    for name in ("AF_UNIX", "SO_PEERCRED"):  # as on Windows
        monkeypatch.delattr(socket, name)
    async with serving(shout, limits=Limits(max_connections_per_peer=2)) as server:
        client = await dial(server)
        await client.send_all(b"a\n")
        assert await client.receive_some() == b"A\n"
        await client.aclose()


async def test_a_connection_around_a_socket_asks_it_for_its_peer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        sock.setblocking(False)
        async with triosock.Connection(sock) as conn:
            assert conn.peer == triosock.TcpAddress(*listener.getsockname())


@pytest.mark.parametrize("pack", [gzip.open, bz2.open, lzma.open])
async def test_a_packed_file_is_sent_unpacked(tmp_path, pack):
    with pack(tmp_path / "file", "wb") as file:
        file.write(b"hello " * 1000)
    one, other = await pair()
    async with one, other:
        with pack(tmp_path / "file") as file:
            assert await one.send_file(file, offset=6, count=11) == 11
        assert await other.receive_exactly(11) == b"hello hello"


async def test_a_file_that_does_not_know_its_size_is_sent_to_its_end():
    one, other = await pair()
    async with one, other:
        with open("/proc/self/status", "rb") as file:
            assert await one.send_file(file) > 100
        assert (await other.receive_until(b":")) == b"Name:"


async def test_those_who_are_gone_are_not_kept_until_the_longest_timeout(autojump_clock):
    timeouts = Timeouts(handshake=3600, idle=3600, send=3600, close=0)
    async with open_server(shout, timeouts=timeouts) as served:
        gone = weakref.WeakSet()
        for _ in range(5):
            client = await served.connect()
            await trio.testing.wait_all_tasks_blocked()
            gone.update(served.server._registry.entries())
            await client.aclose()
            await trio.testing.wait_all_tasks_blocked()
        assert served.server.statistics().ended == {Cause.FINISHED: 5}
        await trio.sleep(11)
        gc.collect()
        assert not len(gone)


@pytest.mark.parametrize("in_memory", [False, True])
async def test_sending_nothing_of_a_file_is_a_checkpoint_too(tmp_path, in_memory):
    (tmp_path / "file").write_bytes(b"x")
    one, other = await (memory_pair if in_memory else pair)()
    async with one, other:
        with open(tmp_path / "file", "rb") as file, trio.testing.assert_checkpoints():
            assert await one.send_file(file, count=0) == 0


def test_run_outside_of_the_main_thread_says_so():
    async def program():
        raise AssertionError("not reached")

    errors = []

    def attempt():
        try:
            triosock.run(program)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert "main thread" in errors[0]


@pytest.mark.parametrize("wrong", [{"name": 5}, {"observers": [5]}, {"observers": 5}])
async def test_a_wrong_name_or_observer_is_named_before_anything_is_opened(tmp_path, wrong):
    gone = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(gone))
    inode = gone.stat().st_ino
    with pytest.raises(TypeError):
        await triosock.serve_unix(shout, gone, **wrong)
    assert gone.stat().st_ino == inode  # not even what is stale was replaced


def test_the_reports_of_a_program_that_fails_are_printed_too(capsys):
    async def program():
        async with trio.open_nursery() as nursery:
            serve = functools.partial(triosock.serve_tcp, shout, 0, host="127.0.0.1", name="the one")
            server = await nursery.start(serve)
            signal.raise_signal(signal.SIGTERM)
            await server.wait_closed()
            raise ValueError("planned")

    with pytest.raises(ExceptionGroup):
        triosock.run(program)
    assert "the one: drained" in capsys.readouterr().err
