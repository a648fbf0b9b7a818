"""Makes the picture of the front page: a drain under load, with thirty clients, one of which never ends.

    python docs/front.py FOLDER

It is a real run of about two seconds. Clients connect one after the other, some send one request, some
several; then the server drains while most of them are connected.
"""

from __future__ import annotations

import functools
import logging
import random
import sys
from pathlib import Path

import trio
from picture import client, handler  # beside this file

import triosock
from triosock.observe import Timeline

CLIENTS = 30
DRAIN_AT = 1.2


async def main(folder: Path) -> None:
    chance = random.Random(7)
    with Timeline() as timeline:
        async with trio.open_nursery() as nursery:
            serve = functools.partial(triosock.serve_tcp, handler, 0, host="127.0.0.1", name="shop")
            server = await nursery.start(serve)
            port = server.addresses[0].port
            for number in range(CLIENTS):
                works = [round(chance.uniform(0.05, 0.5), 2) for _ in range(chance.randrange(1, 5))]
                if number == CLIENTS // 2:
                    works = [60.0]
                start = number / CLIENTS * (DRAIN_AT - 0.05)
                pause = (chance.uniform(0.05, 0.2),)
                jobs = [job for seconds in works for job in (seconds, pause)]
                come = functools.partial(client, stays=len(works) != 1)
                nursery.start_soon(come, port, start, *jobs)
            await trio.sleep(DRAIN_AT)
            server.drain(grace=0.8)
    timeline.write_svg(folder / "front.svg")
    timeline.write_svg(folder / "front.phone.svg", width=360)
    timeline.write_html(folder / "front.html")


if __name__ == "__main__":
    logging.getLogger("triosock").addHandler(logging.NullHandler())
    trio.run(main, Path(sys.argv[1]))
