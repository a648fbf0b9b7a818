"""Datagrams: request and response, and bursts. Datagrams without an answer are counted.

Parameters: `sockets` for request and response (one datagram under way on each); `burst` for bursts (that many
datagrams at once from one socket, then wait for the answers until none comes for QUIET seconds).
"""

from __future__ import annotations

import select
import socket
import struct
from time import perf_counter

from .job import Job, Tally

#: On loopback an answer takes well under a millisecond; one that is this late is lost.
LOST_AFTER = 0.25
QUIET = 0.05
SIZE = 64


def client(job: Job) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(job.address)
    sock.setblocking(False)
    return sock


class RequestResponse:
    def __init__(self, job: Job) -> None:
        self.sockets = {sock.fileno(): sock for sock in (client(job) for _ in range(job.params["sockets"]))}
        self.since = dict.fromkeys(self.sockets, perf_counter())
        self.epoll = select.epoll()
        #: LOST_AFTER is longer than a slice, so this is kept from one to the next. After a pause the answers
        #: that are waiting are read before it is looked at, so that those are not taken for lost.
        self.look_at = perf_counter() + LOST_AFTER
        for sock in self.sockets.values():
            self.epoll.register(sock, select.EPOLLIN)
            sock.send(b"x" * SIZE)

    def drive(self, stop_at: float, limit: float) -> Tally:
        tally, sockets, since = Tally(), self.sockets, self.since
        latencies, now = tally.latencies, 0.0
        while now < stop_at and len(latencies) < limit:
            for fd, _ in self.epoll.poll(LOST_AFTER):
                sock = sockets[fd]
                sock.recv(65536)
                now = perf_counter()
                latencies.append(now - since[fd])
                since[fd] = now
                sock.send(b"x" * SIZE)
            now = perf_counter()
            if now >= self.look_at:
                tally.lost += self.send_lost_ones_again(now)
                self.look_at = now + LOST_AFTER
        tally.count = len(latencies)
        return tally

    def send_lost_ones_again(self, now: float) -> int:
        lost = [fd for fd, began in self.since.items() if now - began > LOST_AFTER]
        for fd in lost:
            self.since[fd] = now
            self.sockets[fd].send(b"x" * SIZE)
        return len(lost)


class Bursts:
    def __init__(self, job: Job) -> None:
        self.size: int = job.params["burst"]
        self.sock = client(job)
        # All answers of a burst must fit here, or the losses would be this side's.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.poll = select.poll()
        self.poll.register(self.sock, select.POLLIN)
        self.number = 0

    def drive(self, stop_at: float, limit: float) -> Tally:
        tally = Tally()
        while perf_counter() < stop_at and tally.count < limit:
            began = perf_counter()
            answered, last = self.burst()
            tally.count += answered
            tally.lost += self.size - answered
            tally.latencies.append(last - began)
        return tally

    def burst(self) -> tuple[int, float]:
        """How many were answered, and when the last one was. Answers to an earlier burst do not count."""
        self.number += 1
        mark = struct.pack("!I", self.number)
        datagram = mark.ljust(SIZE, b"x")
        for _ in range(self.size):
            try:
                self.sock.send(datagram)
            except BlockingIOError:
                pass  # the sender's own buffer is full: a loss like any other
        answered, last = 0, perf_counter()
        while answered < self.size and self.poll.poll(QUIET * 1000):
            if self.sock.recv(65536).startswith(mark):
                answered += 1
                last = perf_counter()
        return answered, last
