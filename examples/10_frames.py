r"""Frames: messages with a length prefix, for payloads that may contain any byte.

A framer is an object with two methods, `split` for receiving and `join` for sending. `max_bytes` is checked
as soon as the length has arrived, before memory is used. `Netstrings()`, `Delimited(b"\0")` and
`FixedSize(16)` are used in the same way.

    python examples/10_frames.py
    printf '\0\0\0\5hello' | nc -N localhost 9999 | od -c
"""

import logging
import sys

import triosock

FRAMES = triosock.LengthPrefixed(4, max_bytes=1_000_000)


async def reverse(conn):
    async for payload in conn.frames(FRAMES):
        await conn.send_all(FRAMES.join(payload[::-1]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_tcp, reverse, port, host="localhost", name="frames")
