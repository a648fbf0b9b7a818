"""`fast.c`, compiled when it is first wanted, if there is a compiler; without one the loops in Python do.

`FAST` is the library, or None. The environment variable BENCHMARK_LOAD=python chooses the loops in Python.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .job import STALLED_AFTER

SOURCE = Path(__file__).with_name("fast.c")
#: Beside the results: the name has what it was made of, so that nothing old is taken.
BUILD = Path(__file__).resolve().parents[2] / "build" / "bench"
#: Latencies of one drive: a slice has 50 ms and more, and the fastest server 200,000 a second.
ROOM = 1 << 20


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled loops; None if there is no compiler, or Python's are wanted."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or os.environ.get("BENCHMARK_LOAD") == "python" or sys.platform != "linux":
        return None
    name = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    path = BUILD / f"fast-{os.uname().machine}-{name}.so"
    if not path.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            made = Path(folder) / "fast.so"
            subprocess.run(
                [compiler, "-O2", "-shared", "-fPIC", "-Wall", "-o", made, SOURCE],
                check=True,
                capture_output=True,
            )
            made.replace(path)  # at once: another process may want it, too
    found = ctypes.CDLL(str(path), use_errno=True)
    found.exchange.restype = found.connects.restype = ctypes.c_int64
    return found


#: What a loop returns instead of a count; as in fast.c.
_STALLED, _CLOSED, _PIECES = -1, -2, -3


def stalled(who: str) -> TimeoutError:
    """What both loops raise when nothing is answered any more."""
    return TimeoutError(f"no progress of any of {who} in {STALLED_AFTER:.0f} s")


def count_of(result: int, who: str) -> int:
    """Return how many operations a loop did; raise what the loop in Python would."""
    if result >= 0:
        return result
    if result == _STALLED:
        raise stalled(who)
    if result == _CLOSED:
        raise ConnectionError("the server closed before it answered")
    if result == _PIECES:
        raise ConnectionError("the server answered in pieces, or sent too many bytes")
    number = ctypes.get_errno()
    raise OSError(number, f"{errno.errorcode.get(number, number)}: {os.strerror(number)}")


def whole(limit: float) -> int:
    """A limit as C counts it."""
    return ROOM if math.isinf(limit) else math.ceil(limit)
