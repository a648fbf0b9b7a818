"""What tests of single datagrams share: a handler, an exchange, and a server for the length of a block."""

from __future__ import annotations

import contextlib

import trio
import trio.testing

import triosock
from tests.servers import running
from triosock.testing import DatagramNetwork

settle = trio.testing.wait_all_tasks_blocked


async def shout(datagram):
    """Answer in capitals."""
    await datagram.reply(datagram.data.upper())


async def exchange(client, data):
    """Send one datagram, and return the next that comes."""
    await client.send(data)
    with trio.fail_after(10):
        return await client.recv(70_000)


class Held:
    """A handler that keeps each datagram until it is released."""

    def __init__(self, released=False):
        self.begun = []
        self.release = trio.Event()
        if released:
            self.release.set()

    async def __call__(self, datagram):
        self.begun.append(datagram.data)
        await self.release.wait()
        await datagram.reply(b"done " + datagram.data)


async def send_all(client, server, *datagrams):
    """Send them in order, and let the server do what it does with them."""
    for data in datagrams:
        await client.send(data, server.addresses[0])
    await settle()


def check(server):
    """Assert the invariants of a server that may still run."""
    server._queue.check()
    server._registry.check()
    s = server.statistics()
    assert s.received == s.handled + sum(s.dropped.values()) + s.pending


@contextlib.asynccontextmanager
async def in_memory(handler, *, network=None, max_bytes=None, **options):
    """Serve in memory; give the server, and its network."""
    network = network or DatagramNetwork()
    sock = network.open("server", max_bytes=max_bytes)
    async with running(triosock.serve_datagram_sockets, handler, [sock], **options) as server:
        yield server, network
        check(server)
    check(server)
