"""Calls from other threads into the host's trio run: each is made once, or refused."""

from __future__ import annotations

import contextlib
import contextvars
import errno
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
import trio

from tests.compat.conftest import host_threads
from tests.servers import serving_in_a_thread
from tests.waiting import PATIENCE, in_a_thread
from triosock import compat
from triosock.compat.bridge.calls import Calls
from triosock.compat.waiting import wakeup


class Run:
    """A trio run in a thread, that does nothing but pump."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.thread = threading.Thread(target=trio.run, args=(self.calls.pump,), daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.calls.soon(self.calls.end)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.fixture
def running(no_leaks: None) -> Iterator[Run]:
    run = Run()
    yield run
    run.end()


def test_calls_of_a_thread_are_made_once_and_in_their_order_also_those_before_the_end(running: Run) -> None:
    made: list[tuple[int, int]] = []

    def call(thread: int) -> None:
        for number in range(500):
            assert running.calls.soon(made.append, (thread, number))

    with contextlib.ExitStack() as stack:
        for number in range(4):
            stack.enter_context(in_a_thread(call, number))
    running.end()  # they may not all have been made yet
    for thread_number in range(4):
        assert [number for thread, number in made if thread == thread_number] == list(range(500))


def test_a_call_after_the_end_is_refused(running: Run) -> None:
    made: list[None] = []
    running.end()
    assert not running.calls.soon(made.append, None)
    with pytest.raises(trio.RunFinishedError):
        running.calls.run(trio.lowlevel.checkpoint)
    assert made == []


def test_calls_that_race_with_the_end_are_made_or_refused(no_leaks: None) -> None:
    for _ in range(50):
        run, made, taken = Run(), [0], [0]

        def count(made: list[int] = made) -> None:
            made[0] += 1

        def call(run: Run = run, taken: list[int] = taken, count: Any = count) -> None:
            while run.calls.soon(count):
                taken[0] += 1

        with in_a_thread(call):
            run.end()
        assert made == taken


def test_who_waits_when_the_run_ends_hears_of_it(running: Run) -> None:
    begun, seen = threading.Event(), []

    async def wait() -> None:
        begun.set()
        await trio.sleep_forever()

    def ask() -> None:
        try:
            running.calls.run(wait)
        except trio.Cancelled:
            seen.append("cancelled")

    with in_a_thread(ask):
        assert begun.wait(PATIENCE)
        running.end()
    assert seen == ["cancelled"]


def test_a_task_has_the_callers_context_its_result_and_its_error_go_back(running: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def get() -> str:
        await trio.lowlevel.checkpoint()
        return variable.get()

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("of the task")

    variable.set("the caller's")
    assert running.calls.run(get) == "the caller's"
    with pytest.raises(LookupError, match="of the task"):
        running.calls.run(fail)


def test_an_error_is_freed_by_counting_references(running: Run) -> None:
    class Mine(Exception):
        pass

    async def fail() -> None:
        raise Mine

    gc.disable()
    try:
        try:
            running.calls.run(fail)
        except Mine as error:
            gone = weakref.ref(error)
        running.calls.run(trio.lowlevel.checkpoint)  # the task of the first one is over
        assert gone() is None
    finally:
        gc.enable()


def test_a_trio_thread_is_not_blocked(running: Run) -> None:
    async def ask() -> None:
        running.calls.run(trio.lowlevel.checkpoint)

    with pytest.raises(RuntimeError, match="blocking function"):
        trio.run(ask)


def test_without_a_descriptor_for_it_a_server_with_threads_waits_alone(
    monkeypatch: Any, no_leaks: None
) -> None:
    monkeypatch.setattr(wakeup, "_eventfd", Mock(side_effect=OSError(errno.EMFILE, "no descriptors")))
    turns = threading.Semaphore(0)

    class Server(compat.ThreadingTCPServer):
        def service_actions(self) -> None:
            turns.release()

    with Server(("127.0.0.1", 0), print) as server, serving_in_a_thread(server, 0.02):
        assert all(turns.acquire(timeout=PATIENCE) for _ in range(3))
        assert not host_threads()
