"""The watch reports the task that blocks the event loop, with its stack, and leaves nothing."""

from __future__ import annotations

import math
import time

import pytest
import trio

from tests.waiting import PATIENCE, threads_named
from triosock._core.inspect.step_watch import THREAD_NAME
from triosock.observe import BlockedLoop, blocked_loop, watch_blocked_loop


def watching():
    return threads_named(THREAD_NAME)


def blocks(told):
    until = time.monotonic() + PATIENCE
    while not told and time.monotonic() < until:
        time.sleep(0.01)


async def test_the_task_that_blocks_is_told_with_its_stack():
    told = []

    async def guilty():
        blocks(told)

    with watch_blocked_loop(0.1, report=told.append):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
            nursery.start_soon(guilty, name="the guilty one")
    (blocked,) = told
    assert isinstance(blocked, BlockedLoop)
    assert (blocked.task, blocked.seconds) == ("the guilty one", 0.1)
    assert "in guilty" in blocked.stack[0]
    assert "in blocks" in blocked.stack[-1]
    assert not any("trio/_core/_run" in frame for frame in blocked.stack)
    assert "the guilty one has run for 0.1 s without a checkpoint" in str(blocked)
    assert watching() == []


async def test_by_default_it_is_a_warning_in_the_log(caplog):
    with watch_blocked_loop(0.05):
        await trio.sleep(0)
        blocks(caplog.records)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("triosock", "WARNING")
    assert "in blocks" in record.getMessage()


async def test_a_place_is_told_once_a_minute(monkeypatch):
    told, steps = [], []
    with watch_blocked_loop(0.05, report=told.append):
        for _ in range(3):
            await trio.sleep(0)
            blocks(told)
            time.sleep(0.15)
        assert len(told) <= 2  # `blocks`, and the sleep in here
        steps += told
        monkeypatch.setattr(blocked_loop, "AGAIN", 0.0)
        await trio.sleep(0)
        told.clear()
        blocks(told)
    assert steps
    assert told


async def test_a_report_that_fails_ends_no_watch(capsys):
    told = []

    def report(blocked):
        told.append(blocked)
        raise ValueError("no disk")

    with watch_blocked_loop(0.05, report=report):
        await trio.sleep(0)
        blocks(told)
    assert "ValueError: no disk" in capsys.readouterr().err
    assert watching() == []


async def test_waiting_is_no_block_and_lets_the_watch_sleep():
    told = []
    # A busy machine may well halt a step of the loop for a tenth of a second.
    with watch_blocked_loop(0.4, report=told.append):
        await trio.sleep(0.9)
        (thread,) = watching()
        for _ in range(20):
            await trio.sleep(0.001)
        await trio.sleep(0.9)
    assert told == []
    assert not thread.is_alive()


async def test_it_ends_with_its_block_however_that_ends():
    with pytest.raises(ZeroDivisionError):
        with watch_blocked_loop(1):
            assert len(watching()) == 1
            raise ZeroDivisionError
    with watch_blocked_loop(math.inf), watch_blocked_loop(1):
        assert len(watching()) == 2
    assert watching() == []


@pytest.mark.parametrize("after", [0, -1, math.nan])
async def test_what_is_no_number_of_seconds_is_refused(after):
    with pytest.raises(ValueError, match="after must be a number of seconds above 0"):
        with watch_blocked_loop(after):
            pass


async def test_a_report_must_be_callable():
    with pytest.raises(TypeError, match="report must be a function of one BlockedLoop"):
        with watch_blocked_loop(1, report="log"):
            pass


def test_outside_of_trio_there_is_no_loop():
    with pytest.raises(RuntimeError):
        with watch_blocked_loop(1):
            pass
    assert watching() == []
