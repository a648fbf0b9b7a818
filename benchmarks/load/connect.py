"""Connect, one exchange of 64 bytes, an end, and again.

Parameters: `in_flight`, how many of them at once, and `ending`, how the client ends: "close" (the default),
"half-close" (it says that it has said all, and waits for the server's end), or "reset" (as health checks and
proxies do).

The client ends first, so the ports in TIME_WAIT are the client's, and Linux takes those again on loopback
after a second (net.ipv4.tcp_tw_reuse is 2 by default). One source address has some 28,000 of them, of which
connect(2) takes only every second one without a search: that would be a limit of 14,000 connections a second,
whatever the server can do. So there are several sources, in turn.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import select
import socket
import struct
from time import perf_counter

from .compiled import ROOM, count_of, library, stalled, whole
from .job import STALLED_AFTER, Job, Tally

MESSAGE = b"x" * 63 + b"\n"
#: In the order of fast.c.
ENDINGS = ("close", "half-close", "reset")
#: What a send says while the handshake is still under way; on loopback it is mostly over when connect
#: returns.
CONNECTING = (BlockingIOError, BrokenPipeError)
#: All of 127.0.0.0/8 is this machine.
SOURCES = [(f"127.0.0.{number}", 0) for number in range(2, 18)]
#: linux/in.h: choose the port with connect(), where those of other destinations do not matter.
IP_BIND_ADDRESS_NO_PORT = 24
#: close(2) after this sends a reset: socket(7), SO_LINGER with no time.
AT_ONCE = struct.pack("ii", 1, 0)
#: Descriptors of a load with some connections in flight are far below this.
TOP = 4096


class Connects:
    def __init__(self, job: Job) -> None:
        self.address, self.in_flight = job.address, job.params["in_flight"]
        self.ending: str = job.params.get("ending", "close")
        self.epoll = select.epoll()
        self.under_way: dict[int, tuple[socket.SocketType, float]] = {}
        self.ended_sending: set[int] = set()
        self.sources = itertools.cycle(SOURCES)
        self.fast = library()
        size = TOP if self.fast else 0
        self.count, self.source = ctypes.c_int64(0), ctypes.c_int64(0)
        self.state, self.since = (ctypes.c_int64 * size)(), (ctypes.c_double * size)()
        self.latencies = (ctypes.c_double * (ROOM if self.fast else 0))()

    def drive(self, stop_at: float, limit: float) -> Tally:
        return self.drive_compiled(stop_at, limit) if self.fast else self.drive_here(stop_at, limit)

    def drive_compiled(self, stop_at: float, limit: float) -> Tally:
        assert self.fast is not None
        result = self.fast.connects(
            self.epoll.fileno(),
            ctypes.c_uint16(self.address[1]),
            MESSAGE,
            ctypes.c_int64(len(MESSAGE)),
            ctypes.c_int64(self.in_flight),
            ctypes.byref(self.count),
            ctypes.c_int64(ENDINGS.index(self.ending)),
            ctypes.c_double(stop_at),
            ctypes.c_int64(whole(limit)),
            ctypes.c_int64(int(STALLED_AFTER * 1e3)),
            ctypes.byref(self.source),
            self.state,
            self.since,
            self.latencies,
            ctypes.c_int64(ROOM),
        )
        count = count_of(result, f"{self.in_flight} clients")
        return Tally(count, self.latencies[:count])

    def drive_here(self, stop_at: float, limit: float) -> Tally:
        latencies: list[float] = []
        now = 0.0
        for _ in range(self.in_flight - len(self.under_way)):
            self.begin(perf_counter())
        while now < stop_at and len(latencies) < limit:
            ready = self.epoll.poll(STALLED_AFTER)
            if not ready:
                raise stalled(f"{self.in_flight} clients")
            for fd, event in ready:
                sock, began = self.under_way[fd]
                if event & select.EPOLLOUT:
                    sock.send(MESSAGE)
                    self.epoll.modify(fd, select.EPOLLIN)
                elif not self.goes_on(fd, sock):
                    now = perf_counter()
                    latencies.append(now - began)
                    self.end(fd, sock)
                    self.begin(now)
        return Tally(len(latencies), latencies)

    def close(self) -> None:
        """Close what is under way."""
        for fd in (fd for fd, state in enumerate(self.state) if state):
            os.close(fd)
        for sock, _ in self.under_way.values():
            sock.close()
        self.epoll.close()

    def goes_on(self, fd: int, sock: socket.SocketType) -> bool:
        """Receive; return whether something is still to come."""
        data = sock.recv(4096)
        if fd in self.ended_sending:
            if data:
                raise ConnectionError("the server answered twice")
            return False
        if len(data) != len(MESSAGE):
            raise ConnectionError("the server closed before it answered, or answered in pieces")
        if self.ending == "half-close":
            sock.shutdown(socket.SHUT_WR)
            self.ended_sending.add(fd)
        return self.ending == "half-close"

    def end(self, fd: int, sock: socket.SocketType) -> None:
        if self.ending == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self.ended_sending.discard(fd)
        del self.under_way[fd]
        sock.close()

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
