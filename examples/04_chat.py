"""A chat: connections that share something, all in one nursery.

Each visitor has two tasks, in a nursery of their own: one reads what the visitor types, one sends what
there is to hear. If one fails, so does the other. Nobody waits for a visitor who does not read: when 100
lines are waiting for him, he misses the next ones, which `room.statistics()` counts. Who only listens is
not idle: what is sent counts for `Timeouts.idle` as what is received.

    python examples/04_chat.py
    nc localhost 9999                   in two windows
"""

import logging
import sys

import trio

import triosock

room = triosock.Broadcast(buffer=100)


async def deliver(conn, inbox):
    async for text in inbox:
        await conn.send_all(text.encode() + b"\n")


async def visit(conn):
    with room.join() as inbox:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliver, conn, inbox)
            room.send_nowait(f"* {conn.id} is here, {len(room)} in all")
            try:
                async for line in conn.lines(max_bytes=1024):
                    room.send_nowait(f"{conn.id}: {line.decode(errors='replace').rstrip()}")
            finally:
                inbox.leave()  # that ends `deliver`, when it has sent the rest
                room.send_nowait(f"* {conn.id} has left")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_tcp, visit, port, host="localhost", name="chat")
