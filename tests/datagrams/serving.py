"""What tests of single datagrams share: a handler, an exchange, and a server for the length of a block."""

from __future__ import annotations

import contextlib

import trio
import trio.testing

from triosock.testing import check_nothing_left

settle = trio.testing.wait_all_tasks_blocked


async def shout(datagram):
    """Answer in capitals."""
    await datagram.reply(datagram.data.upper())


async def exchange(client, data):
    """Send one datagram, and return the next that comes."""
    await client.send(data)
    with trio.fail_after(10):
        return await client.recv(70_000)


@contextlib.asynccontextmanager
async def serving(serve, *args, **options):
    """A server that is started with `serve(*args, **options)`, and cancelled at the end."""
    async with trio.open_nursery() as nursery:

        async def run(task_status):
            await serve(*args, task_status=task_status, **options)

        server = await nursery.start(run)
        yield server
        nursery.cancel_scope.cancel()
    server._queue.check()
    check_nothing_left(server)
