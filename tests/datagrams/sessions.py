"""What tests of sessions share: handlers, and clients in memory."""

from __future__ import annotations

import trio
import trio.testing

settle = trio.testing.wait_all_tasks_blocked


async def echo(session):
    """Send each datagram back."""
    async for data in session:
        await session.send(data)


async def receive(client, count):
    """Return the data of the next datagrams."""
    return [(await client.receive())[0] for _ in range(count)]


class Log:
    """A handler that notes what its sessions get, and can be held up after each datagram."""

    def __init__(self, released=False):
        self.got: dict[str, list[bytes]] = {}
        self.ended: list[str] = []
        self.go = trio.Event()
        if released:
            self.go.set()
        self.sessions = []

    async def __call__(self, session):
        self.sessions.append(session)
        name = session.peer.name
        try:
            async for data in session:
                self.got.setdefault(name, []).append(data)
                await self.go.wait()
        finally:
            self.ended.append(name)
