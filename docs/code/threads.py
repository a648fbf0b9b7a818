"""Blocking work of a native handler in threads, with a limit."""

import trio


def make_handler(blocking_lookup, threads=8):
    limiter = trio.CapacityLimiter(threads)

    async def handle(conn):
        async for line in conn.lines():
            answer = await trio.to_thread.run_sync(blocking_lookup, line, limiter=limiter)
            await conn.send_all(answer)

    return handle
