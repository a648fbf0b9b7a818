"""Overload: a new client that would wait too long is refused at once, and the others are served in time.

Each line blocks the event loop for 50 ms, so this server can answer 20 in a second. While a new connection
would wait for more than 0.2 s, the overflow handler answers instead.

    python examples/13_overload.py
    for i in $(seq 60); do (echo hello | nc -N localhost 9999 &); done
"""

import logging
import sys
import time

import triosock
from triosock import Limits


async def work(conn):
    async for line in conn.lines():
        time.sleep(0.05)  # noqa: ASYNC251 - as a computation would
        await conn.send_all(line.upper())


async def busy(conn):
    await conn.send_all(b"busy, try again\n")


limits = Limits(max_lag=0.2, overflow=busy)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_tcp, work, port, host="localhost", name="late", limits=limits)
