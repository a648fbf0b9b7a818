"""Limits and backpressure: three clients at most, none of which can fill the memory.

The handler sends without end. `send_all` waits until the client has read enough, so a client that does not
read stops only its own handler; after `send` seconds it is cut. A fourth client gets a message from `full`,
and is closed; with `overflow="wait"`, the default, it would wait in the kernel's accept queue.

    python examples/09_limits.py        (port and seconds: python examples/09_limits.py 9999 10)
    nc localhost 9999 | head            in three other windows: nc localhost 9999 | sleep 30
"""

import itertools
import logging
import sys

import triosock


async def count(conn):
    for number in itertools.count():
        if conn.draining:  # never idle, so it must check for a drain itself
            return
        await conn.send_all(b"%09d\n" % number * 100)


async def full(conn):
    await conn.send_all(b"three are here already; come back later\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    limits = triosock.Limits(max_connections=3, overflow=full)
    timeouts = triosock.Timeouts(send=float(sys.argv[2]) if sys.argv[2:] else 10)
    options = {"host": "localhost", "name": "count", "limits": limits, "timeouts": timeouts}
    triosock.run(triosock.serve_tcp, count, port, **options)
