"""Connect, one exchange of 64 bytes, close, and again. Parameter: `in_flight`, how many of them at once.

The client closes first, so the ports in TIME_WAIT are the client's, and Linux takes those again on loopback
after a second (net.ipv4.tcp_tw_reuse is 2 by default). One source address has some 28,000 of them, of which
connect(2) takes only every second one without a search: that would be a limit of 14,000 connections a second,
whatever the server can do. So there are several sources, in turn.
"""

from __future__ import annotations

import itertools
import select
import socket
from time import perf_counter

from .job import STALLED_AFTER, Job, Tally

MESSAGE = b"x" * 64
#: What a send says while the handshake is still under way; on loopback it is mostly over when connect
#: returns.
CONNECTING = (BlockingIOError, BrokenPipeError)
#: All of 127.0.0.0/8 is this machine.
SOURCES = [(f"127.0.0.{number}", 0) for number in range(2, 18)]
#: linux/in.h: choose the port with connect(), where those of other destinations do not matter.
IP_BIND_ADDRESS_NO_PORT = 24


class Connects:
    def __init__(self, job: Job) -> None:
        self.address, self.in_flight = job.address, job.params["in_flight"]
        self.epoll = select.epoll()
        self.under_way: dict[int, tuple[socket.SocketType, float]] = {}
        self.sources = itertools.cycle(SOURCES)

    def drive(self, stop_at: float, limit: float) -> Tally:
        latencies: list[float] = []
        now = 0.0
        for _ in range(self.in_flight - len(self.under_way)):
            self.begin(perf_counter())
        while now < stop_at and len(latencies) < limit:
            ready = self.epoll.poll(STALLED_AFTER)
            if not ready:
                raise TimeoutError(f"no progress of any of {self.in_flight} clients in {STALLED_AFTER:.0f} s")
            for fd, event in ready:
                sock, began = self.under_way[fd]
                if event & select.EPOLLOUT:
                    sock.send(MESSAGE)
                    self.epoll.modify(fd, select.EPOLLIN)
                    continue
                if len(sock.recv(4096)) != len(MESSAGE):
                    raise ConnectionError("the server closed before it answered, or answered in pieces")
                now = perf_counter()
                latencies.append(now - began)
                sock.close()
                del self.under_way[fd]
                self.begin(now)
        return Tally(len(latencies), latencies)

    def begin(self, now: float) -> None:
        # Without what socket.socket adds to it: the generator must be lighter than what it measures.
        sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind(next(self.sources))
        sock.connect_ex(self.address)
        try:
            sock.send(MESSAGE)
            wanted = select.EPOLLIN
        except CONNECTING:
            wanted = select.EPOLLOUT
        fd = sock.fileno()
        self.under_way[fd] = (sock, now)
        self.epoll.register(fd, wanted)
