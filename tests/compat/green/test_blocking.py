"""Handlers that block the event loop are named."""

from __future__ import annotations

import re
import sys
import threading
import time
from typing import Any

import pytest

from tests.compat.conftest import read_all
from tests.waiting import eventually, threads_named
from triosock import compat
from triosock.compat import loading

watch = loading.late_green("watch")


def policy(after: float) -> compat.Policy:
    return compat.Policy(mode="green", blocking_after=after)


@pytest.fixture(autouse=True)
def _forget() -> None:
    watch._reported.clear()


def told_here() -> list[int]:
    """The lines of this file that were told of. A loaded machine can halt a handler anywhere else, too."""
    return [line for file, line in watch._reported if file == __file__]


def watching() -> list[threading.Thread]:
    return threads_named(watch.THREAD_NAME)


def serve_and_end(start: Any, handler: Any, capfd: Any, times: int = 1) -> str:
    """What a server says on stderr, whose loop and watch have ended."""
    running = start("ThreadingTCPServer", handler, trio_policy=policy(0.05))
    for _ in range(times):
        read_all(running.dial())
    running.end()
    return str(capfd.readouterr().err)


def test_a_handler_that_sleeps_in_the_thread_is_told_once_with_its_stack(start: Any, capsys: Any) -> None:
    class Sleeps(compat.BaseRequestHandler):
        def handle(self) -> None:
            self.nap()

        def nap(self) -> None:
            # Until it is told. Again and again after a wait, as what runs without one is told of once.
            until = time.monotonic() + 20
            while not told_here() and time.monotonic() < until:
                compat.sleep(0.001)
                time.sleep(0.2)

    error = serve_and_end(start, Sleeps, capsys, times=3)
    assert "has run for 0.05 seconds without a wait" in error
    called = re.findall(r"in (\w+)\n", error)
    nap = called.index("nap")
    assert called[nap - 1 : nap + 1] == ["handle", "nap"]
    assert called.count("nap") == len(told_here()) == 1
    assert "compat.blocking(fn, *args)" in error


def test_a_busy_loop_is_told_too(start: Any, capsys: Any) -> None:
    class Spins(compat.BaseRequestHandler):
        def handle(self) -> None:
            until = time.monotonic() + 20
            while not told_here() and time.monotonic() < until:
                compat.sleep(0.001)
                pause = time.monotonic() + 0.2
                while time.monotonic() < pause:
                    pass

    assert "in handle" in serve_and_end(start, Spins, capsys)


def test_who_waits_long_blocks_nobody_and_is_not_told(start: Any, capsys: Any) -> None:
    class Waits(compat.BaseRequestHandler):
        def handle(self) -> None:
            compat.sleep(0.3)
            compat.blocking(time.sleep, 0.3)

    serve_and_end(start, Waits, capsys)
    assert not told_here()


def test_the_watch_sleeps_when_nothing_happens_and_ends_with_the_loop(start: Any) -> None:
    class Waits(compat.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)

    running = start("ThreadingTCPServer", Waits, trio_policy=policy(0.02))
    assert watching() == []
    client = running.dial()

    def is_asleep() -> bool:
        frames = [sys._current_frames().get(thread.ident or 0) for thread in watching()]
        return any(frame is not None and "_sleep" in called_by(frame) for frame in frames)

    assert eventually(is_asleep)
    running.server.shutdown()
    running.join()
    assert watching() == []
    client.close()


def called_by(frame: Any) -> list[str]:
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


def test_who_does_not_want_it_has_no_thread_for_it(start: Any) -> None:
    seen: list[int] = []

    def handle(*args: Any) -> None:
        seen.append(len(watching()))

    for after in (float("inf"), 1.0):
        running = start("ThreadingTCPServer", handle, trio_policy=policy(after))
        read_all(running.dial())
        running.end()
    assert seen == [0, 1]
