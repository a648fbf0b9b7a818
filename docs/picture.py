"""Makes docs/_static/run.svg and run.phone.svg, the picture at the top of the README: a real run of about two
seconds.

    python docs/picture.py

Some clients disconnect, some stay, one never ends its request, the handler of one fails; after a while the
server drains.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import trio

import triosock
from triosock.observe import Timeline

TARGET = Path(__file__).parent / "_static" / "run.svg"


async def handler(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        await trio.sleep(float(line))  # simulated work
        await conn.send_all(b"done\n")


async def client(port: int, start: float, *jobs: object, stays: bool = True) -> None:
    """Connect at `start`; do the jobs (a number is the seconds of a job, a tuple a pause); stay until the
    server ends it."""
    await trio.sleep(start)
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for job in jobs:
            if isinstance(job, tuple):
                await trio.sleep(job[0])
                continue
            await stream.send_all(f"{job}\n".encode())
            try:
                if not await stream.receive_some():
                    return
            except trio.BrokenResourceError:
                return  # cut: a reset, for there will be no answer
        if stays:
            await stream.receive_some()


async def main() -> None:
    with Timeline() as timeline:
        async with trio.open_nursery() as nursery:
            serve = functools.partial(triosock.serve_tcp, handler, 0, host="127.0.0.1", name="shop")
            server = await nursery.start(serve)
            port = server.addresses[0].port
            for start, jobs in (
                (0.00, (0.2, (0.3,), 0.25, (0.2,), 0.1)),
                (0.05, (0.5, (0.1,), 0.6)),
                (0.10, ("no number",)),
                (0.20, (0.1, (0.2,), 0.1)),
                (0.35, (0.9,)),
                (0.45, (0.15, (0.15,), 0.15, (0.15,), 0.15)),
                (0.60, (60,)),
                (0.90, (0.7,)),
            ):
                nursery.start_soon(client, port, start, *jobs)
            await trio.sleep(1.2)
            server.drain(grace=0.8)
    timeline.write_svg(TARGET)
    timeline.write_svg(TARGET.with_suffix(".phone.svg"), width=360)


if __name__ == "__main__":
    logging.getLogger("triosock").addHandler(logging.NullHandler())
    trio.run(main)
