"""`python -m benchmarks.reuseport`: one listener for all workers, beside one for each with SO_REUSEPORT.

It measures two things, with processes that only `poll` and `accept`, as an event loop does:

- fairness: how many of the connections each process gets, when they come one by one and in bursts;
- the end: the fate of connections in the queue of a blocked process when it is killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Iterator

PROCESSES = 4


def main() -> None:
    """Measure, and print two tables."""
    print(f"{PROCESSES} processes, {os.cpu_count()} processors: share of each process in percent")
    for shared in (True, False):
        for burst in (1, 100):
            counts = _fairness(shared, burst, 2000)
            shares = " ".join(f"{100 * count / sum(counts):5.1f}" for count in sorted(counts))
            name = "shared" if shared else "SO_REUSEPORT"
            print(f"  {name:13} {'one by one' if burst == 1 else 'in bursts of 100':17} {shares}")
    print("one of the processes is stuck for a second and then killed, with 200 new clients meanwhile")
    for shared in (True, False):
        served, late, reset = _end(shared, 200)
        name = "shared" if shared else "SO_REUSEPORT"
        print(f"  {name:13} {served:4} served at once, {late:4} later, {reset:4} reset or never served")


def _listeners(shared: bool) -> list[socket.socket]:
    first = socket.socket()
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0 if shared else 1)
    first.bind(("127.0.0.1", 0))
    first.listen(1024)
    if shared:
        return [first] * PROCESSES
    others = []
    for _ in range(PROCESSES - 1):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(first.getsockname())
        one.listen(1024)
        others.append(one)
    return [first, *others]


@contextlib.contextmanager
def _serving(listeners: list[socket.socket], stuck: int = -1) -> Iterator[list[int]]:
    """Processes that answer each connection with their number. `stuck` is one that does not."""
    children = []
    for number, listener in enumerate(listeners):
        child = os.fork()
        if child == 0:
            for other in {one for one in listeners if one is not listener}:
                other.close()
            _serve(listener, number, number == stuck)
        children.append(child)
    for listener in set(listeners):
        listener.close()
    try:
        yield children
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)


def _serve(listener: socket.socket, number: int, is_stuck: bool) -> None:
    try:
        listener.setblocking(False)
        poll = select.epoll()
        poll.register(listener, select.EPOLLIN)
        while True:
            if is_stuck:
                time.sleep(600)
            poll.poll()
            with contextlib.suppress(BlockingIOError):
                conn, _ = listener.accept()
                conn.sendall(bytes([number]))
                conn.close()
    finally:
        os._exit(1)


def _fairness(shared: bool, burst: int, total: int) -> list[int]:
    listeners = _listeners(shared)
    address = listeners[0].getsockname()
    counts = [0] * PROCESSES
    with _serving(listeners):
        for _ in range(total // burst):
            clients = [socket.create_connection(address, timeout=30) for _ in range(burst)]
            for client in clients:
                counts[client.recv(1)[0]] += 1
                client.close()
    return counts


def _end(shared: bool, clients: int) -> tuple[int, int, int]:
    listeners = _listeners(shared)
    address = listeners[0].getsockname()
    served = late = reset = 0
    with _serving(listeners, stuck=0) as children:
        waiting = [socket.create_connection(address, timeout=5) for _ in range(clients)]
        time.sleep(1)
        readable, _, _ = select.select(waiting, [], [], 0)
        served = len(readable)
        os.kill(children[0], 9)
        for client in waiting:
            try:
                got = client.recv(1)
            except OSError:
                got = b""
            if client not in readable:
                late, reset = late + bool(got), reset + (not got)
            client.close()
    return served, late, reset


if __name__ == "__main__":
    sys.exit(main())
