"""The smallest server: one async function, called for each connection, in its own task.

When the function returns, the connection is closed gracefully. `triosock.run` is `trio.run` with signals: on
Ctrl-C or SIGTERM it ends idle connections and lets busy ones finish.

    python examples/01_echo.py          (another port: python examples/01_echo.py 8888)
    nc localhost 9999                   type a line; then Ctrl-C in the first window: nc ends too
"""

import logging
import sys

import triosock


async def echo(conn):
    async for line in conn.lines():
        await conn.send_all(line)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_tcp, echo, port, host="localhost", name="echo")
