"""A program of somebody who still has trio-typing installed: it must type-check (see .ci/legacy-typing)."""

import trio

import triosock


async def handle(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server: triosock.StreamServer = await nursery.start(triosock.serve_tcp, handle, 0)
        server.drain(grace=1.0)
        report: triosock.DrainReport = await server.wait_closed()
        print(report.finished + 1)


if __name__ == "__main__":
    triosock.run(main)
