"""Persistent connections, each with one message in flight: raw echo, lines, pipelined lines, TLS echo.

Parameters: `connections`, `size` (bytes of a message), `lines` (lines that one message is made of), `tls`.
The loop is the compiled one (fast.c) if there is a compiler, but not under TLS.
"""

from __future__ import annotations

import ctypes
import select
import socket
import ssl
from collections.abc import Callable
from time import perf_counter

from .compiled import ROOM, count_of, library, stalled, whole
from .job import STALLED_AFTER, Job, Tally
from .tls import client_context

NOT_YET = (BlockingIOError, ssl.SSLWantReadError)


def message(size: int, lines: int) -> bytes:
    """`size` bytes that are `lines` lines of equal length."""
    line = size // lines
    return (b"x" * (line - 1) + b"\n") * lines


class Exchange:
    def __init__(self, job: Job) -> None:
        self.lines: int = job.params.get("lines", 1)
        self.message = message(job.params.get("size", 64), self.lines)
        context = client_context() if job.params.get("tls") else None
        self.sockets: list[socket.socket] = []
        self.epoll = select.epoll()
        for _ in range(job.params["connections"]):
            sock = job.connect()
            if context is not None:
                sock = context.wrap_socket(sock)
            sock.setblocking(False)
            self.sockets.append(sock)
            self.epoll.register(sock, select.EPOLLIN)
        # Lists over the descriptor number, and bound methods in them: the generator must be lighter than what
        # it measures.
        top = max(sock.fileno() for sock in self.sockets) + 1
        nothing: Callable[..., bytes] = bytes
        self.fast = library() if context is None else None
        self.latencies = (ctypes.c_double * (ROOM if self.fast else 0))()
        self.missing_of = (ctypes.c_int64 * top)(*[len(self.message)] * top)
        self.since_of = (ctypes.c_double * top)(*[perf_counter()] * top)
        self.receive = [nothing] * top
        self.send: list[Callable[[bytes], object]] = [nothing] * top
        self.missing = [len(self.message)] * top
        self.since = [perf_counter()] * top
        for sock in self.sockets:
            self.receive[sock.fileno()] = sock.recv
            self.send[sock.fileno()] = sock.send
            sock.send(self.message)

    def drive(self, stop_at: float, limit: float) -> Tally:
        return self.drive_compiled(stop_at, limit) if self.fast else self.drive_here(stop_at, limit)

    def drive_compiled(self, stop_at: float, limit: float) -> Tally:
        assert self.fast is not None
        result = self.fast.exchange(
            self.epoll.fileno(),
            self.message,
            ctypes.c_int64(len(self.message)),
            ctypes.c_double(stop_at),
            ctypes.c_int64(whole(limit / self.lines)),
            ctypes.c_int64(int(STALLED_AFTER * 1e3)),
            self.missing_of,
            self.since_of,
            self.latencies,
            ctypes.c_int64(ROOM),
        )
        count = count_of(result, f"{len(self.sockets)} connections")
        return Tally(count * self.lines, self.latencies[:count])

    def drive_here(self, stop_at: float, limit: float) -> Tally:
        poll, receive, send = self.epoll.poll, self.receive, self.send
        missing, since = self.missing, self.since
        text, size, clock = self.message, len(self.message), perf_counter
        messages, now = limit / self.lines, 0.0
        latencies: list[float] = []
        note = latencies.append
        while now < stop_at and len(latencies) < messages:
            ready = poll(STALLED_AFTER)
            if not ready:
                raise stalled(f"{len(self.sockets)} connections")
            for fd, _ in ready:
                try:
                    data = receive[fd](65536)
                except NOT_YET:
                    continue
                rest = missing[fd] - len(data)
                if rest:
                    if not data or rest < 0:
                        raise ConnectionError(f"the server closed, or sent {-rest} bytes too many")
                    missing[fd] = rest
                    continue
                now = clock()
                note(now - since[fd])
                since[fd] = now
                missing[fd] = size
                send[fd](text)
        return Tally(len(latencies) * self.lines, latencies)
