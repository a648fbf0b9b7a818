"""A chat: connections that share a broadcast, all in one nursery.

Each visitor has two tasks in one nursery: one reads the visitor's lines, one sends the lines of all. If one
fails, the other is cancelled. A visitor who does not read delays no other: when 100 lines wait for him, he
misses the next ones, which `room.statistics()` counts. A visitor who only listens is not idle: for
`Timeouts.idle`, sent data counts as received data does.

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
                inbox.leave()  # ends `deliver` after it has sent the rest
                room.send_nowait(f"* {conn.id} has left")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_tcp, visit, port, host="localhost", name="chat")
