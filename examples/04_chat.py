"""A chat: connections that share something, all in one nursery.

Each visitor has two tasks, in a nursery of their own: one reads what the visitor types, one sends what
there is to hear. If one fails, so does the other. Nobody waits for a visitor who does not read: when 100
lines are waiting, he misses the next ones. Who only listens is not idle: what is sent counts for
`Timeouts.idle` as what is received.

    python examples/04_chat.py
    nc localhost 9999                   in two windows
"""

import logging
import sys

import trio

import triosock

room = {}  # number of the connection -> where to put what its visitor should hear


def tell_all(text):
    for outbox in room.values():
        try:
            outbox.send_nowait(text.encode() + b"\n")
        except trio.WouldBlock:
            pass


async def deliver(conn, inbox):
    async for text in inbox:
        await conn.send_all(text)


async def visit(conn):
    outbox, inbox = trio.open_memory_channel(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver, conn, inbox)
        with outbox:  # closed at the end: that ends `deliver`, when it has sent the rest
            room[conn.id] = outbox
            tell_all(f"* {conn.id} is here, {len(room)} in all")
            try:
                async for line in conn.lines(max_bytes=1024):
                    tell_all(f"{conn.id}: {line.decode(errors='replace').rstrip()}")
            finally:
                del room[conn.id]
                tell_all(f"* {conn.id} has left")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_tcp, visit, port, host="localhost", name="chat")
