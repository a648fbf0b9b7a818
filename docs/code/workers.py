"""A program that is a parent of workers."""

import trio

import triosock


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def worker():
    await triosock.serve_listeners(shout, triosock.inherited_listeners())


async def parent(port=9999):
    async with trio.open_nursery() as nursery:

        async def serve(*, task_status):
            endpoints = [f"tcp://127.0.0.1:{port}"]
            await triosock.serve_workers("workers:worker", endpoints, workers=2, task_status=task_status)

        workers = await nursery.start(serve)
        print(*workers.statistics(), sep="\n")
        report = await workers.restart()
        print(report)
        workers.drain()


if __name__ == "__main__":
    triosock.run(parent)
