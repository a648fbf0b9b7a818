"""A program that inetd, or systemd with Accept=yes, starts for each connection; also in a shell."""

import logging.handlers
import os

import triosock


async def shout(conn):
    logging.info("here is %s", conn.peer)
    async for line in conn.lines():
        await conn.send_all(line.upper())


if __name__ == "__main__":
    # Not to stderr: that may be the connection.
    has_syslog = os.path.exists("/dev/log")
    handler = logging.handlers.SysLogHandler("/dev/log") if has_syslog else logging.NullHandler()
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    triosock.run(triosock.serve_stdio, shout, grace=10)
