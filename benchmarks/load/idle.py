"""Idle connections: the memory of each, and their end when the server drains.

Parameters of `idle`: `connections`, and `tls`. Of `drain`: `idle` and `busy`.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from time import perf_counter

from .job import STALLED_AFTER, Job
from .tls import client_context
from .usage import usage

#: These come first: what a server sets up once, at its first connections, is not the price of each.
FIRST_FEW = 100


def receive_line(sock: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = sock.recv(64)
        if not data:
            raise ConnectionError(f"the server closed after {line!r}")
        line += data
    return line


def open_idle(job: Job, count: int) -> list[socket.socket]:
    """`count` connections, each with one exchange behind it, like one that is kept alive between requests."""
    sockets = []
    context = client_context() if job.params.get("tls") else None
    for _ in range(count):
        sock = job.connect()
        if context is not None:
            sock = context.wrap_socket(sock)
        sockets.append(sock)
        sock.sendall(b"ping\n")
        receive_line(sock)
    return sockets


def memory(job: Job) -> dict[str, float]:
    """Resident memory of the server per idle connection, in KiB; the kernel's own is not in it."""
    count = job.params["connections"]
    kept = open_idle(job, FIRST_FEW)
    before, began = usage(job.pid), perf_counter()
    kept += open_idle(job, count)
    elapsed, after = perf_counter() - began, usage(job.pid)
    for sock in kept:
        sock.close()
    return {
        "idle_kib": (after.resident_bytes - before.resident_bytes) / count / 1024,
        "rate": count / elapsed,
        "cpu_us": (after.cpu_seconds - before.cpu_seconds) / count * 1e6,
        "rss_mib": after.resident_bytes / 2**20,
        "count": count,
        "seconds": elapsed,
    }


def drain(job: Job) -> dict[str, float]:
    """SIGTERM with idle and busy connections open, until each has seen its end.

    `answered` is how many of the busy ones got their reply, `resets` how many of all ended with a reset.
    """
    idle = open_idle(job, job.params["idle"])
    busy = open_idle(job, job.params["busy"])
    for sock in busy:
        sock.sendall(b"work\n")
    for sock in busy:
        if receive_line(sock) != b"begun\n":
            raise ConnectionError("the server does not say that it has begun")
    waiting = {sock.fileno(): sock for sock in idle + busy}
    busy_fds = {sock.fileno() for sock in busy}
    epoll = select.epoll()
    for fd in waiting:
        epoll.register(fd, select.EPOLLIN)
    os.kill(job.pid, signal.SIGTERM)
    began = last_idle = last_busy = perf_counter()
    answered = resets = 0
    while waiting:
        ready = epoll.poll(STALLED_AFTER)
        if not ready:
            raise TimeoutError(
                f"{len(waiting)} connections are still open {STALLED_AFTER:.0f} s after SIGTERM"
            )
        for fd, _ in ready:
            try:
                data = waiting[fd].recv(64)
            except ConnectionResetError:
                data, resets = b"", resets + 1
            if data:
                answered += data == b"done\n"
                continue
            if fd in busy_fds:
                last_busy = perf_counter()
            else:
                last_idle = perf_counter()
            waiting.pop(fd).close()
    return {
        "idle_ms": (last_idle - began) * 1e3,
        "busy_ms": (last_busy - began) * 1e3,
        "answered": answered,
        "resets": resets,
        "count": job.params["idle"] + job.params["busy"],
    }
