"""The job of a load generator, and the one place where it is timed.

Rules:

1. Figures are taken only between two readings of the clocks around the same `drive`, after a warm-up of the
   same kind.
2. **A pause has no part in them.** A sample consists of slices, with pauses in which the others have theirs.
   A pause leaves answers behind which the server worked out for nobody's time; so each slice has a run-up,
   which lasts until these are read, and those that piled up meanwhile are too. And an operation that began
   before the pause counts, but has no latency.
3. **A slice ends when the server is at rest**: what it still has to do for the last requests would be done in
   the next one's time, on the same processor.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter, process_time, sleep
from typing import Any, Final, TypeAlias

from .usage import usage

#: A server that leaves everybody waiting for as long as this has failed.
STALLED_AFTER: Final = 10.0
#: How many times as many operations as may be under way a run-up has. While the answers left behind are read,
#: new ones pile up, fewer in each pass, since every load is faster than what it measures.
PASSES: Final = 2
#: And how long it lasts at least, in seconds: the others have had the processor's caches.
RUN_UP: Final = 0.005

#: A server that uses less than IDLE of its time is at rest if that is so for REST seconds, and again for as
#: many. (Once is not enough: when a child is reaped, its clock goes, and comes back in steps of 10 ms.)
REST: Final = 0.002
IDLE: Final = 0.1
TWICE: Final = 2


@dataclass(frozen=True)
class Job:
    """`params` is what the shape of load wants to know; `seconds` is the time of one slice."""

    port: int
    pid: int
    seconds: float = 1.0
    warmup: float = 0.2
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def connect(self) -> socket.socket:
        """One connection. They are made in turn, so that no server's accept queue overflows meanwhile."""
        sock = socket.create_connection(self.address, timeout=STALLED_AFTER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


def under_way(params: dict[str, Any]) -> int:
    """How many operations a load with these `params` may have under way at a time."""
    several = (params[name] for name in ("connections", "in_flight", "sockets") if name in params)
    return int(next(several, 1) * params.get("lines", 1))


@dataclass
class Tally:
    """What one drive saw: operations done, seconds of each, and datagrams that were never answered."""

    count: int = 0
    latencies: list[float] = field(default_factory=list)
    lost: int = 0


#: `drive(stop_at, limit)`: work until that time of `perf_counter`, or so many operations.
Drive: TypeAlias = Callable[[float, float], Tally]


class Meter:
    """Adds up what the slices of one sample saw."""

    def __init__(self, job: Job, drive: Drive) -> None:
        self._job, self._drive = job, drive
        self._seen = Tally()
        self._seconds = self._cpu_seconds = self._own_seconds = 0.0
        self._resident = 0

    def warm_up(self) -> None:
        self._drive(perf_counter() + self._job.warmup, math.inf)
        self._wait_for_rest()

    def take_slice(self) -> None:
        job, drive, seen = self._job, self._drive, self._seen
        resumed = perf_counter()
        run_up = drive(resumed + STALLED_AFTER, PASSES * under_way(job.params))
        if not run_up.count:
            raise RuntimeError(f"nothing was answered in {STALLED_AFTER:.0f} s")
        drive(resumed + RUN_UP, math.inf)
        before, own_before, began = usage(job.pid), process_time(), perf_counter()
        tally = drive(began + job.seconds, math.inf)
        ended, own_after, after = perf_counter(), process_time(), usage(job.pid)
        seen.count += tally.count
        seen.lost += run_up.lost + tally.lost  # what is lost at the end of a slice is missed in the next one
        seen.latencies += [one for one in tally.latencies if one <= ended - resumed]
        self._seconds += ended - began
        self._own_seconds += own_after - own_before
        self._cpu_seconds += after.cpu_seconds - before.cpu_seconds
        self._resident = after.resident_bytes
        self._wait_for_rest()

    def _wait_for_rest(self) -> None:
        until, used, quiet = perf_counter() + STALLED_AFTER, usage(self._job.pid).cpu_seconds, 0
        while quiet < TWICE:
            if perf_counter() > until:
                raise RuntimeError(f"the server is at work {STALLED_AFTER:.0f} s after the last request")
            # Nothing tells when a process has nothing to do; its clock shows it.
            sleep(REST)
            before, used = used, usage(self._job.pid).cpu_seconds
            quiet = quiet + 1 if 0 <= used - before <= IDLE * REST else 0

    def figures(self) -> dict[str, float]:
        """Raises RuntimeError if nothing was answered."""
        seen, seconds = self._seen, self._seconds
        if not seen.count:
            raise RuntimeError(f"nothing was answered in {seconds:.1f} s")
        return {
            "rate": seen.count / seconds,
            "cpu_us": self._cpu_seconds / seen.count * 1e6,
            "p50_us": percentile(seen.latencies, 0.50) * 1e6,
            "p99_us": percentile(seen.latencies, 0.99) * 1e6,
            "p999_us": percentile(seen.latencies, 0.999) * 1e6,
            "rss_mib": self._resident / 2**20,
            "count": seen.count,
            "seconds": seconds,
            "lost": seen.lost,
            "server_busy": self._cpu_seconds / seconds,
            "loader_busy": self._own_seconds / seconds,
        }


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered), max(1, math.ceil(share * len(ordered)))) - 1]
