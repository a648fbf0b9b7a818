"""Fifty clients that send requests until the server hangs up, and the end that each of them sees."""

import collections
import sys

import trio

import triosock


async def client(port, heard):
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with triosock.Connection(stream) as conn:
            while True:
                await conn.send_all(b"hello\n")
                await conn.receive_until(b"\n")
                heard["answers"] += 1
                await trio.sleep(0.01)
    except triosock.Incomplete as error:
        heard["half an answer" if error.partial else "ended by the server"] += 1
    except trio.BrokenResourceError:
        heard["a reset"] += 1
    except OSError:
        heard["nobody there"] += 1


async def main(port):
    heard = collections.Counter()
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(client, port, heard)
    print(*(f"{what}: {number}" for what, number in heard.items()), sep="\n")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
