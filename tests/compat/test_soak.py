"""Connects, resets, slow clients, shutdowns, drains and restarts, for minutes: nothing leaks, no reply is
lost.

The invariant: every client that said something complete and waited got its answer, and after each round the
process has as many threads, descriptors and children as before. `TRIOSOCK_SOAK_SECONDS` says how long it
takes, 600 by default.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from triosock import compat

KINDS = ("TCPServer", "ThreadingTCPServer", "ForkingTCPServer", "ThreadingUnixStreamServer")
CLIENTS = 6
REQUESTS = 12


def echo(request: Any, address: Any, server: Any) -> None:
    """Answer each line in capitals; a reset or a silent client ends it."""
    request.settimeout(5)
    with contextlib.suppress(ConnectionError, TimeoutError), request.makefile("rb") as lines:
        for line in lines:
            request.sendall(line.upper())


class Client(threading.Thread):
    """Talks to a server in one of several manners, again and again; `lost` are the answers that never
    came.
    """

    def __init__(self, server: Any, seed: int) -> None:
        super().__init__(name="client")
        self._server = server
        self._random = random.Random(seed)
        self.answered = 0
        self.lost: list[str] = []

    def run(self) -> None:
        for number in range(REQUESTS):
            manner = self._random.choice((self.ask, self.ask_slowly, self.reset, self.say_nothing))
            with socket.socket(self._server.address_family) as sock:
                sock.settimeout(20)
                sock.connect(self._server.server_address)
                manner(sock, b"request %d\n" % number)

    def ask(self, sock: socket.socket, line: bytes) -> None:
        sock.sendall(line)
        self.expect(sock, line)

    def ask_slowly(self, sock: socket.socket, line: bytes) -> None:
        for index in range(len(line)):
            sock.sendall(line[index : index + 1])
        self.expect(sock, line)

    def reset(self, sock: socket.socket, line: bytes) -> None:
        sock.sendall(line[:4])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def say_nothing(self, sock: socket.socket, line: bytes) -> None:
        pass

    def expect(self, sock: socket.socket, line: bytes) -> None:
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while part := sock.recv(1000):
            got += part
        self.answered += 1
        if got != line.upper():
            self.lost.append(f"{line!r} got {got!r}")


def one_round(kind: str, seed: int, folder: str) -> int:
    """One server's life under load; return how many answers were given."""
    address: Any = os.path.join(folder, f"socket{seed}") if "Unix" in kind else ("127.0.0.1", 0)
    answered = 0
    server_class = type(kind, (getattr(compat, kind),), {"request_queue_size": 64})
    with server_class(address, echo) as server:
        for turn in range(2):
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            clients = [Client(server, seed * 100 + turn * 10 + number) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            for client in clients:
                client.join(120)
                assert not client.is_alive()
                assert client.lost == []
                answered += client.answered
            if turn and seed % 2:
                assert compat.drain(server, grace=20).cancelled == 0
            else:
                server.shutdown()
            serving.join(20)
            assert not serving.is_alive()
    return answered


def what_is_there() -> tuple[int, int]:
    # trio's idle workers are those of other tests, and go when their ten seconds are over.
    ours = [thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread")]
    return len(ours), len(os.listdir("/proc/self/fd"))


def children() -> set[int]:
    """The child processes of this one, of other tests too."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            _, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def soak(seconds: float, folder: str) -> int:
    """Play rounds for so long, at least one of each kind; return how many answers there were."""
    others = children()
    for kind in KINDS:
        one_round(kind, 0, folder)  # what is opened once, by the interpreter, is opened now
    before = what_is_there()
    answered, seed, end = 0, 1, time.monotonic() + seconds
    while time.monotonic() < end or seed <= len(KINDS):
        answered += one_round(KINDS[seed % len(KINDS)], seed, folder)
        # Fewer is as good: what tests before this one had left to end by itself has ended.
        more = [now for now, then in zip(what_is_there(), before, strict=True) if now > then]
        assert not more, f"left behind by round {seed}: {KINDS[seed % len(KINDS)]}"
        assert children() <= others, f"children left by round {seed}"
        seed += 1
    return answered


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_ten_minutes(tmp_path: Any, capfd: Any) -> None:
    faulthandler.cancel_dump_traceback_later()  # longer than pytest lets a test be silent
    assert soak(float(os.environ.get("TRIOSOCK_SOAK_SECONDS", "600")), str(tmp_path)) > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_one_round_of_each(tmp_path: Any) -> None:
    assert soak(0, str(tmp_path)) > 0
