"""The latency of a connection with single requests beside one that always has data.

No parameters. The greedy one writes whatever the server takes and reads whatever comes back; only the polite
one's exchanges are counted.
"""

from __future__ import annotations

import select
from time import perf_counter

from .job import STALLED_AFTER, Job, Tally

MESSAGE = b"x" * 64
FLOOD = b"x" * 65536


class Fairness:
    def __init__(self, job: Job) -> None:
        self.greedy, self.polite = job.connect(), job.connect()
        self.epoll = select.epoll()
        self.buffer = bytearray(1 << 18)
        self.greedy.setblocking(False)
        self.polite.setblocking(False)
        self.epoll.register(self.greedy, select.EPOLLIN | select.EPOLLOUT)
        self.epoll.register(self.polite, select.EPOLLIN)
        self.since = perf_counter()
        self.polite.send(MESSAGE)

    def drive(self, stop_at: float, limit: float) -> Tally:
        latencies: list[float] = []
        asking = self.polite.fileno()
        while perf_counter() < stop_at and len(latencies) < limit:
            for fd, event in self.epoll.poll(STALLED_AFTER):
                if fd == asking:
                    if not self.polite.recv(len(MESSAGE)):
                        raise ConnectionError("the server closed the polite connection")
                    latencies.append(perf_counter() - self.since)
                    self.since = perf_counter()
                    self.polite.send(MESSAGE)
                else:
                    self.flood(event)
        return Tally(len(latencies), latencies)

    def flood(self, event: int) -> None:
        try:
            if event & select.EPOLLIN and not self.greedy.recv_into(self.buffer):
                raise ConnectionError("the server closed the greedy connection")
            if event & select.EPOLLOUT:
                self.greedy.send(FLOOD)
        except BlockingIOError:
            pass
