"""UDP with workers: a socket of its own for each slot, and peers that stay with theirs."""

from __future__ import annotations

import errno
import os
import socket

import pytest
import trio

import triosock
from triosock import open_udp_sockets

from .conftest import HERE, PATIENCE, open_descriptors, processes, service, until
from .test_control import request

QUICK = triosock.Supervision(settle=0)


def clients(workers: triosock.Workers, count: int) -> list[trio.socket.SocketType]:
    address = workers.addresses[0]
    assert isinstance(address, triosock.UdpAddress)
    found = []
    for _ in range(count):
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plain.setblocking(False)
        plain.connect((address.host, address.port))
        found.append(trio.socket.from_stdlib_socket(plain))
    return found


async def ask(client: trio.socket.SocketType, word: bytes) -> int:
    await client.send(word)
    with trio.fail_after(PATIENCE):
        number, _, echoed = (await client.recv(1000)).partition(b" ")
    assert echoed == word
    return int(number)


async def test_peers_are_dealt_out_and_each_stays_with_its_worker_across_a_restart():
    async with service(
        f"{HERE}:echo_datagrams", {"dns": "udp://127.0.0.1:0"}, workers=2, supervision=QUICK
    ) as workers:
        peers = clients(workers, 20)
        first = [await ask(peer, b"one") for peer in peers]
        assert set(first) == {1, 2}
        assert [await ask(peer, b"two") for peer in peers] == first
        old = set(processes(workers))
        assert not (await workers.restart()).failure
        await until(lambda: not old & set(processes(workers)))
        assert [await ask(peer, b"three") for peer in peers] == first
        for peer in peers:
            peer.close()


async def test_what_arrives_between_a_crash_and_the_next_worker_waits_in_the_slot():
    async with service(f"{HERE}:echo_datagrams", {"dns": "udp://127.0.0.1:0"}, workers=1) as workers:
        (peer,) = clients(workers, 1)
        await ask(peer, b"before")
        (worker,) = workers._slots[0].workers
        worker.process.signal(9)
        await until(lambda: worker.ended.is_set())
        assert await ask(peer, b"after") == 1
        peer.close()


async def test_all_sockets_of_a_port_are_gone_at_the_end():
    async with service(f"{HERE}:echo_datagrams", {"dns": "udp://127.0.0.1:0"}, workers=2) as workers:
        port = workers.addresses[0].port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))  # without SO_REUSEPORT: nobody else has it


def sockets():
    """All sockets of this process. Not all descriptors: the control socket's server is still starting."""
    return {number: what for number, what in open_descriptors().items() if what.startswith("socket:")}


async def test_a_slot_that_cannot_be_opened_leaves_no_socket_that_gets_datagrams_and_the_number_stays(
    tmp_path, monkeypatch
):
    path = tmp_path / "control"
    endpoints = {"dns": "udp://127.0.0.1:0", "more": "udp://127.0.0.1:0"}
    async with service(f"{HERE}:echo_datagrams", endpoints, workers=1, control=path, verbs=True) as workers:
        await until(path.exists)
        address = workers.addresses[0]

        async def fail(port: int, **options: object) -> object:
            if port != address.port:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return await open_udp_sockets(port, **options)

        monkeypatch.setattr("triosock.workers.endpoints.open_udp_sockets", fail)
        before = sockets()
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            await workers.set_count(2)
        assert sockets() == before
        assert workers.count == 1
        answer = await request(path, {"do": "workers", "count": 2})
        assert answer == {"error": str(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))}
        monkeypatch.undo()
        await workers.set_count(2)
        peers = clients(workers, 20)
        assert {await ask(peer, b"hello") for peer in peers} == {1, 2}
        for peer in peers:
            peer.close()
