"""Migration, step 2: a native handler class with the same methods, without threads, and with limits and
timeouts.
"""

import sys

import trio

import triosock


class Shout(triosock.StreamHandler):
    async def handle(self) -> None:
        async for line in self.conn.lines():
            await self.conn.send_all(line.upper())


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: triosock.serve_tcp(
                Shout.serve, int(sys.argv[1]), host="127.0.0.1", task_status=task_status
            )
        )
        print("listening on port", server.addresses[0].port, flush=True)


if __name__ == "__main__":
    triosock.run(main)
