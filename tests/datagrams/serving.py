"""What tests of single datagrams share: a handler, an exchange, and a server for the length of a block."""

from __future__ import annotations

import trio
import trio.testing

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

    def __init__(self):
        self.begun = []
        self.release = trio.Event()

    async def __call__(self, datagram):
        self.begun.append(datagram.data)
        await self.release.wait()
        await datagram.reply(b"done " + datagram.data)


async def send_all(client, server, *datagrams):
    """Send them in order, and let the server do what it does with them."""
    for data in datagrams:
        await client.send(data, server.addresses[0])
    await settle()
