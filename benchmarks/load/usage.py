"""What a server process has used so far, read from outside.

The CPU time is the clocks of the process and of its children (nanoseconds, all their threads, also those that
have ended), and what children had used that it has reaped (clock ticks, 10 ms; only a forking server has
any). Memory is the process's alone.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    cpu_seconds: float
    resident_bytes: int


def usage(pid: int) -> Usage:
    """Raises ProcessLookupError if the server is gone."""
    try:
        running = clock(pid) + sum(clock_or_zero(child) for child in children(pid))
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open(f"/proc/{pid}/statm", "rb") as file:
            resident = int(file.read().split()[1])
    except OSError as error:
        raise ProcessLookupError(f"the server (process {pid}) is gone") from error
    reaped = (int(fields[13]) + int(fields[14])) * TICK  # cutime and cstime, fields 16 and 17 of proc(5)
    return Usage(running + reaped, resident * PAGE)


def clock(pid: int) -> float:
    """The CPU seconds of a process."""
    # clock_getcpuclockid(3) makes the clock's number from the pid like this; Python has no name for it.
    return time.clock_gettime((~pid << 3) | 2)


def clock_or_zero(pid: int) -> float:
    """The same for a child, which may end at any time."""
    try:
        return clock(pid)
    except OSError:
        return 0.0


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
        return [int(child) for child in file.read().split()]
