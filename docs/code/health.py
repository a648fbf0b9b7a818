"""A program with a health port beside its server."""

import logging
import sys

import triosock
from triosock.cli.handlers import shout


async def main(port, health):
    async with triosock.open_health(f"tcp://127.0.0.1:{health}"):
        await triosock.serve_tcp(shout, port, host="127.0.0.1", name="shout")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    ports = [int(word) for word in sys.argv[1:]] or [9999, 8081]
    triosock.run(main, *ports, grace=30, delay=5)
