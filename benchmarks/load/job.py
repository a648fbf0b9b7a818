"""The job of a load generator, and the one place where a run is timed.

Rule: figures are taken only between two readings of the clocks around the same `drive`, after a warm-up of
the same kind.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any

from .usage import usage

#: A server that leaves everybody waiting for as long as this has failed.
STALLED_AFTER = 10.0


@dataclass(frozen=True)
class Job:
    """`params` is what the shape of load wants to know. `limit` ends a drive by its count of operations."""

    port: int
    pid: int
    seconds: float = 1.0
    warmup: float = 0.2
    limit: float = math.inf
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def connect(self) -> socket.socket:
        """One connection. They are made in turn, so that no server's accept queue overflows meanwhile."""
        sock = socket.create_connection(self.address, timeout=STALLED_AFTER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


@dataclass
class Tally:
    """What one drive saw: operations done, seconds of each, and datagrams that were never answered."""

    count: int = 0
    latencies: list[float] = field(default_factory=list)
    lost: int = 0


def measured(job: Job, drive: Callable[[float, float], Tally]) -> dict[str, float]:
    """Drive to warm up, drive again, and return the figures of the second time."""
    drive(perf_counter() + job.warmup, job.limit)
    before, own_before, began = usage(job.pid), process_time(), perf_counter()
    tally = drive(began + job.seconds, job.limit)
    elapsed, own, after = perf_counter() - began, process_time() - own_before, usage(job.pid)
    if not tally.count:
        raise RuntimeError(f"nothing was answered in {elapsed:.1f} s")
    return {
        "rate": tally.count / elapsed,
        "cpu_us": (after.cpu_seconds - before.cpu_seconds) / tally.count * 1e6,
        "p50_us": percentile(tally.latencies, 0.50) * 1e6,
        "p99_us": percentile(tally.latencies, 0.99) * 1e6,
        "rss_mib": after.resident_bytes / 2**20,
        "count": tally.count,
        "seconds": elapsed,
        "lost": tally.lost,
        "server_busy": (after.cpu_seconds - before.cpu_seconds) / elapsed,
        "loader_busy": own / elapsed,
    }


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered), max(1, math.ceil(share * len(ordered)))) - 1]
