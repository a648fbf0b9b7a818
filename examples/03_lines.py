"""A line protocol: a store of keys and values, shared by all connections.

The store is a plain dict without a lock: all handlers run in one thread, and they switch only at an `await`.
A line of more than `max_bytes` raises `FrameTooLarge`, an error of the peer, which ends only its own
connection.

    python examples/03_lines.py
    nc localhost 9999                   set colour blue, get colour, keys, quit
"""

import logging
import sys

import triosock

store = {}


async def serve_store(conn):
    async for line in conn.lines(max_bytes=1024):
        match line.split(maxsplit=2):
            case [b"set", key, value]:
                store[key] = value.rstrip()
                reply = b"ok"
            case [b"get", key] if key in store:
                reply = store[key]
            case [b"get", key]:
                reply = b"error: no such key: " + key
            case [b"keys"]:
                reply = b" ".join(sorted(store))
            case [b"quit"]:
                return
            case _:
                reply = b"error: say: set KEY VALUE, get KEY, keys, or quit"
        await conn.send_all(reply + b"\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_tcp, serve_store, port, host="localhost", name="store")
