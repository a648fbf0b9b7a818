"""Replies that wait, fail, or have nowhere to go: Unix peers, mostly."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest
import trio
import trio.testing

import triosock
from tests.datagrams.serving import settle, shout
from tests.servers import drained, running
from tests.waiting import until, until_ended, until_served
from triosock import Cause, Sessions, Timeouts, UnixAddress
from triosock._core.datagram.socket import KernelSocket
from triosock._core.model import events


@contextlib.asynccontextmanager
async def asked(folder, handler, *, named=True, **options):
    """Serve at a path; give the server, and its client, which has sent one datagram."""
    async with running(triosock.serve_unix_datagram, handler, folder / "server", **options) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            if named:
                client.bind(os.fspath(folder / "client"))
            client.sendto(b"x", os.fspath(folder / "server"))
            yield server, client


async def test_unix_datagrams_and_their_replies(tmp_path):
    path = tmp_path / "server"
    async with running(triosock.serve_unix_datagram, shout, path, mode=0o600) as server:
        assert server.addresses == (UnixAddress(path),)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(os.fspath(tmp_path / "client"))
            client.settimeout(10)
            client.sendto(b"hi", os.fspath(path))
            assert await trio.to_thread.run_sync(client.recvfrom, 10) == (b"HI", os.fspath(path))
    assert not path.exists()


async def test_a_peer_without_a_name_cannot_be_answered_and_that_is_said(tmp_path, recorder):
    peers = []

    async def handler(datagram):
        peers.append(datagram.peer)
        await datagram.reply(b"?")

    async with asked(tmp_path, handler, named=False, observers=[recorder]) as (server, _):
        await until_ended(server)
        assert peers == [UnixAddress("")]
        assert server.statistics().ended == {Cause.PEER: 1}
        assert not recorder.of(events.HandlerFailed), "it is the peer's doing"


async def test_the_error_of_a_reply_to_nobody_says_what_to_do(tmp_path):
    said = []

    async def handler(datagram):
        try:
            await datagram.reply(b"?")
        except triosock.NoReturnAddress as error:
            said.append(str(error))

    async with asked(tmp_path, handler, named=False):
        await until(lambda: said)
    assert said == [
        "the peer's Unix socket has no name, so there is nowhere to send a reply to: "
        "a client that wants one must bind() its socket first"
    ]


async def test_unix_peers_without_a_name_share_a_session(tmp_path):
    got = []

    async def handler(session):
        async for data in session:
            got.append((session.id, data))  # noqa: PERF401

    async with running(triosock.serve_unix_datagram, handler, tmp_path / "s", sessions=Sessions()):
        for data in (b"1", b"2"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.sendto(data, os.fspath(tmp_path / "s"))
        await until(lambda: len(got) == 2)
    assert got == [(1, b"1"), (1, b"2")]


@pytest.mark.parametrize("how", ["dead", "unlinked"])
async def test_a_unix_peer_that_has_gone_costs_its_own_reply(tmp_path, how, recorder):
    go = trio.Event()

    async def handler(datagram):
        await go.wait()
        await datagram.reply(b"?")

    async with asked(tmp_path, handler, observers=[recorder]) as (server, client):
        await until_served(server)
        client.close()
        if how == "unlinked":
            (tmp_path / "client").unlink()
        go.set()
        await until_ended(server)
        assert server.statistics().ended == {Cause.PEER: 1}
        assert not recorder.of(events.HandlerFailed)


async def test_a_unix_reply_that_is_too_long_for_the_system(tmp_path):
    told = []

    async def handler(datagram):
        with pytest.raises(ValueError, match=r"data has 8,000,000 bytes, too many for one datagram"):
            await datagram.reply(bytes(8_000_000))
        told.append(datagram)

    async with asked(tmp_path, handler):
        await until(lambda: told)
    assert len(told) == 1


async def test_a_unix_peer_that_takes_nothing_is_cut_by_the_send_timeout(tmp_path, autojump_clock):
    async def handler(datagram):
        while True:
            await datagram.reply(b"x" * 2_000)

    async with asked(tmp_path, handler, timeouts=Timeouts(send=5)) as (server, _):
        began = trio.current_time()
        while not server.statistics().ended:
            await trio.sleep(0.5)
        assert trio.current_time() - began == pytest.approx(5, abs=1)
        assert server.statistics().ended == {Cause.SEND: 1}


async def test_a_task_that_is_not_the_handler_is_told_of_the_send_timeout(tmp_path, autojump_clock):
    kept = []

    async def handler(datagram):
        kept.append(datagram)

    async with asked(tmp_path, handler, timeouts=Timeouts(send=5)):
        while not kept:
            await trio.sleep(0.1)
        with pytest.raises(trio.TooSlowError, match=r"took nothing for 5 s \(Timeouts.send\)"):
            while True:
                await kept[0].reply(b"x" * 2_000)


async def test_who_waits_for_room_when_the_server_ends_is_told(tmp_path):
    kept, raised = [], []

    async def handler(datagram):
        kept.append(datagram)

    async def keep_sending():
        with pytest.raises(trio.ClosedResourceError) as caught:
            while True:
                await kept[0].reply(b"x" * 2_000)
        raised.append(str(caught.value))

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.bind(os.fspath(tmp_path / "client"))
        async with trio.open_nursery() as outer:
            async with running(triosock.serve_unix_datagram, handler, tmp_path / "s") as server:
                client.connect(os.fspath(tmp_path / "s"))
                client.send(b"x")
                await until(lambda: kept)
                outer.start_soon(keep_sending)
                await settle()
                await drained(server)
    assert raised
    assert "the server has ended" in raised[0]


async def test_a_broadcast_without_permission_says_what_to_do(bound):
    async def handler(datagram):
        with pytest.raises(trio.BrokenResourceError, match="broadcast=True"):
            await datagram.reply(b"x")
        told.set()

    class FromBroadcast(KernelSocket):
        def receive_nowait(self):
            return super().receive_nowait()._replace(name=("255.255.255.255", 9))

    told = trio.Event()
    async with running(triosock.serve_datagram_sockets, handler, [FromBroadcast(bound)]):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", bound.getsockname())
            with trio.fail_after(5):
                await told.wait()
