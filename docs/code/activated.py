"""Serves on the sockets that systemd opened, or on its own port if there are none."""

import logging

import triosock


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def main():
    listeners = triosock.inherited_listeners() or await triosock.open_tcp_listeners(9999)
    return await triosock.serve_listeners(shout, listeners, name="shout")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = triosock.run(main, grace=30)
    print(report)
