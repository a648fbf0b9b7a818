"""Large messages: downloads, uploads and echo. Parameters: `connections`, `request` and `reply` (bytes each).

A connection sends its request while it already receives the reply, as a client must that wants a megabyte
echoed.
"""

from __future__ import annotations

import select
import socket
from time import perf_counter

from .job import STALLED_AFTER, Job, Tally

BOTH = select.EPOLLIN | select.EPOLLOUT


class Client:
    __slots__ = ("began", "missing", "sock", "unsent")

    def __init__(self, sock: socket.socket, request: memoryview, reply: int) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.restart(request, reply)

    def restart(self, request: memoryview, reply: int) -> None:
        self.unsent, self.missing, self.began = request, reply, perf_counter()


class Bulk:
    def __init__(self, job: Job) -> None:
        self.request = memoryview(b"x" * job.params["request"])
        self.reply: int = job.params["reply"]
        self.buffer = bytearray(1 << 18)
        self.epoll = select.epoll()
        self.clients: dict[int, Client] = {}
        for _ in range(job.params["connections"]):
            client = Client(job.connect(), self.request, self.reply)
            self.clients[client.sock.fileno()] = client
            self.epoll.register(client.sock, BOTH)

    def drive(self, stop_at: float, limit: float) -> Tally:
        latencies: list[float] = []
        while perf_counter() < stop_at and len(latencies) < limit:
            ready = self.epoll.poll(STALLED_AFTER)
            if not ready:
                raise TimeoutError(f"no byte moved on any connection in {STALLED_AFTER:.0f} s")
            for fd, event in ready:
                client = self.clients[fd]
                if event & select.EPOLLIN and self.receive(client):
                    latencies.append(perf_counter() - client.began)
                    client.restart(self.request, self.reply)
                    self.epoll.modify(fd, BOTH)
                if event & select.EPOLLOUT:
                    self.send(fd, client)
        return Tally(len(latencies), latencies)

    def receive(self, client: Client) -> bool:
        """Whether the reply is there as a whole."""
        got = client.sock.recv_into(self.buffer)
        client.missing -= got
        if not got or client.missing < 0:
            raise ConnectionError(f"the server closed, or sent {-client.missing} bytes too many")
        return client.missing == 0

    def send(self, fd: int, client: Client) -> None:
        try:
            client.unsent = client.unsent[client.sock.send(client.unsent) :]
        except BlockingIOError:
            return
        if not client.unsent:
            self.epoll.modify(fd, select.EPOLLIN)
