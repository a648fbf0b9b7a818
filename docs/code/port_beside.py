"""A compat server and a native one in one program, drained by one signal."""

from functools import partial

import trio
from port_compat import Server, Shout
from shout import shout

import triosock
from triosock import compat


async def main(old_port=9998, new_port=9999):
    async with trio.open_nursery() as nursery:
        old = Server(("127.0.0.1", old_port), Shout)
        await nursery.start(partial(compat.serve, old, name="old"))
        await nursery.start(partial(triosock.serve_tcp, shout, new_port, host="127.0.0.1", name="new"))


if __name__ == "__main__":
    triosock.run(main)
