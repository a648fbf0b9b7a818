"""One child process, by itself."""

from __future__ import annotations

import os
import sys

import trio

from triosock.workers.process import Process


async def test_a_child_that_reads_nothing_does_not_stop_its_parent() -> None:
    child = Process([sys.executable, "-c", "import time; time.sleep(1_000)"], [], dict(os.environ))
    try:
        # More than a pipe holds (pipe(7): 64 KiB).
        for _ in range(100):
            child.tell("x" * 1_000)
        child.signal(9)
        with trio.fail_after(30):
            assert await child.wait() == -9
    finally:
        await child.end_at_once()
