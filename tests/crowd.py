"""Many clients in a separate process: `python -m tests.crowd PORT COUNT`. Plain epoll, no framework.

Each connects, says hello, hears HELLO. Every second one then asks for something that takes long. When all
have, "ready" is printed; then each waits until the server ends the stream. What became of them is printed as
JSON.
"""

from __future__ import annotations

import collections
import json
import select
import socket
import sys

TIMEOUT = 120.0


class Client:
    def __init__(self, number: int, port: int) -> None:
        self.busy = number % 2 == 0
        self.received = b""
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)

    def hello(self) -> None:
        self.sock.sendall(b"hello\n")
        assert self.sock.recv(100) == b"HELLO\n"
        if self.busy:
            self.sock.sendall(b"busy\n")

    def take(self) -> str | None:
        """Receive; return how it ended, if it has."""
        try:
            data = self.sock.recv(100)
        except ConnectionResetError:
            return "reset"
        self.received += data
        if data:
            return None
        if self.busy:
            return "answered" if self.received == b"BUSY\n" else "unanswered"
        return "ended" if not self.received else "surprised"


def main(port: int, count: int) -> None:
    clients = [Client(number, port) for number in range(count)]
    for client in clients:
        client.hello()
    print("ready", flush=True)
    ends: collections.Counter[str] = collections.Counter()
    waiting = {client.sock.fileno(): client for client in clients}
    with select.epoll() as poll:
        for descriptor in waiting:
            poll.register(descriptor, select.EPOLLIN)
        while waiting:
            ready = poll.poll(TIMEOUT)
            assert ready, f"nothing came for {TIMEOUT} s; {len(waiting)} clients wait"
            for descriptor, _ in ready:
                client = waiting[descriptor]
                end = client.take()
                if end is not None:
                    ends[end] += 1
                    del waiting[descriptor]
                    poll.unregister(descriptor)
                    client.sock.close()
    print(json.dumps(ends), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
