"""A Unix control socket beside a TCP server: two servers, one nursery.

Only this user may connect (`mode`). The socket file exists as long as the server. `scope.drain()` drains both
servers; the connection that sent the command is busy, so it may finish, and gets the report.

    python examples/06_control.py       (port and path: python examples/06_control.py 9999 control.sock)
    nc localhost 9999                   a client of the server
    nc -U control.sock                  status, suspend, resume, drain
"""

import logging
import sys
from functools import partial

import trio

import triosock


async def echo(conn):
    async for line in conn.lines():
        await conn.send_all(line)


async def obey(server, scope, conn):
    async for line in conn.lines():
        match line.strip():
            case b"status":
                answer = f"{server.statistics().active} connected, {server.statistics().accepted} so far"
            case (b"suspend" | b"resume") as verb:
                server.suspend() if verb == b"suspend" else server.resume()
                answer = verb.decode() + ": done"
            case b"drain":
                scope.drain(grace=10)
                answer = str(await server.wait_closed())
            case _:
                answer = "say: status, suspend, resume, or drain"
        await conn.send_all(answer.encode() + b"\n")


async def main(port=9999, path="control.sock"):
    with triosock.DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            serve_echo = partial(triosock.serve_tcp, echo, int(port), host="localhost", name="echo")
            server = await nursery.start(serve_echo)
            await triosock.serve_unix(partial(obey, server, scope), path, mode=0o600, name="control")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    triosock.run(main, *sys.argv[1:])
