"""A chat's outbox: bounded, so that a slow reader costs a bounded amount of memory."""

import trio


async def subscribe(conn, room):
    outbox, inbox = trio.open_memory_channel(100)
    room.add(outbox)
    try:
        async for text in inbox:
            await conn.send_all(text)
    finally:
        room.discard(outbox)
        outbox.close()
        inbox.close()


def tell_all(room, text):
    for outbox in list(room):
        try:
            outbox.send_nowait(text)
        except trio.WouldBlock:
            room.discard(outbox)
            outbox.close()  # its subscriber gets the queued messages, and then the end
