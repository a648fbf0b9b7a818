"""Timeouts: a client that sends nothing, and one that never ends its request.

`idle` bounds the wait for a request to begin. It ends the loop as if the client had hung up, so the handler
can still send a last line. `request` bounds the request itself, from its first byte on; it cancels the
handler.

    python examples/02_greeter.py       (port and seconds: python examples/02_greeter.py 9999 10)
    nc localhost 9999                   type your name; then again, and do nothing for ten seconds
    (printf Bo; sleep 20) | nc localhost 9999     half a name: cut after ten seconds, and the log says why
"""

import logging
import sys

import triosock


async def greet(conn):
    await conn.send_all(b"What is your name?\n")
    async for line in conn.lines(max_bytes=80):
        name = line.decode(errors="replace").strip()
        await conn.send_all(f"Hello, {name}!\n".encode())
        return
    await conn.send_all(b"Nobody there? Goodbye.\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    patience = float(sys.argv[2]) if sys.argv[2:] else 10
    timeouts = triosock.Timeouts(idle=patience, request=patience)
    triosock.run(triosock.serve_tcp, greet, port, host="localhost", name="greeter", timeouts=timeouts)
