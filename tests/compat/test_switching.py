"""Threads that switch every microsecond: data kept without a lock stays consistent."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import serving_in_a_thread
from triosock import compat

pytestmark = pytest.mark.slow

CLIENTS, ROUNDS = 16, 25


@pytest.fixture(autouse=True)
def _switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def ask(address: Any, answers: list[bytes]) -> None:
    for _ in range(ROUNDS):
        with socket.create_connection(address, 60) as client:
            client.sendall(b"x\n")
            answers.append(client.recv(10))


@pytest.mark.parametrize("policy", [None, "bounded"])
def test_every_request_is_counted_once(policy: str | None) -> None:
    class Line(compat.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline().upper())

    class Server(compat.ThreadingTCPServer):
        request_queue_size = 128
        trio_policy = None if policy is None else compat.Policy(request_timeout=60, max_requests=8)

    answers: list[bytes] = []
    with Server(("127.0.0.1", 0), Line) as server, serving_in_a_thread(server):
        clients = [
            threading.Thread(target=ask, args=(server.server_address, answers)) for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        looks = 0
        while any(client.is_alive() for client in clients):
            numbers = compat.statistics(server)
            assert 0 <= numbers.active <= CLIENTS
            looks += 1
        for client in clients:
            client.join()
    numbers = compat.statistics(server)
    assert answers == [b"X\n"] * CLIENTS * ROUNDS
    assert looks
    assert numbers.active == 0
    assert sum(numbers.ended.values()) == CLIENTS * ROUNDS
    assert numbers.accepted == CLIENTS * ROUNDS
