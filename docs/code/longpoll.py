"""A long poll that ends when its client disconnects."""

import trio

news = trio.Event()


async def cancel_if_gone(conn, scope):
    await conn.wait_peer_gone()
    scope.cancel()


async def poll(conn):
    while await conn.wait_request():
        await conn.receive_until(b"\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_if_gone, conn, nursery.cancel_scope)
            await news.wait()
            nursery.cancel_scope.cancel()
        if news.is_set():
            await conn.send_all(b"news\n")
