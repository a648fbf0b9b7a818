"""What a recorder takes of programs that are known, and that it leaves nothing behind."""

from __future__ import annotations

import inspect
import logging

import pytest
import trio
import trio.testing

from tests.observe.stepping import programs
from tests.observe.stepping.programs import of, record
from tests.waiting import in_a_thread
from triosock._core.model import emitter
from triosock.observe import Recorder
from triosock.observe.stepping import trio_internals
from triosock.testing import open_server


def line_of(function, text):
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


def test_who_starts_whom_where_and_how_each_ends():
    recorder = record(programs.family)
    assert [(one.task, one.name.rpartition(".")[2], one.by) for one in of(recorder, "spawn")] == [
        (1, "family", 0),
        (2, "quiet", 1),
        (3, "fails", 1),
    ]
    third = of(recorder, "spawn", task=3)[0]
    assert third.where == f"{programs.__file__}:{line_of(programs.family, 'start_soon(fails)')}"
    assert (third.time, third.nursery) == (pytest.approx(1, abs=0.1), 1)
    assert [(one.task, one.kind) for one in of(recorder, "end", "fail", "gone")] == [
        (3, "fail"),
        (2, "gone"),
        (1, "end"),
    ]
    failed = of(recorder, "fail")[0]
    assert failed.text == "ValueError: the <b>last</b> straw"
    assert failed.where == f"{programs.__file__}:{line_of(programs.fails, 'raise')}"


def test_where_a_task_waits_and_for_what():
    recorder = record(programs.family)
    first, second = of(recorder, "wait", task=1)
    assert first.waits_for == "time to pass (sleep)"
    assert first.where == f"{programs.__file__}:{line_of(programs.family, 'trio.sleep(1)')}"
    assert first.deadline == pytest.approx(1, abs=0.1)
    assert second.waits_for.startswith("the tasks in its nursery")
    assert second.deadline is None
    assert of(recorder, "wait", task=2)[0].waits_for.startswith("its cancellation")


def test_why_a_task_is_cancelled_and_by_whom():
    recorder = record(programs.family)
    (cancelled,) = of(recorder, "cancel")
    # First the failure, then what came of it.
    order = [(one.task, one.kind) for one in recorder.steps()]
    assert order.index((3, "fail")) < order.index((2, "cancel")) < order.index((2, "gone"))
    assert (cancelled.task, cancelled.by, cancelled.nursery) == (2, 3, 1)
    assert cancelled.text == (
        "its nursery is cancelled: child task raised exception ValueError('the <b>last</b> straw')"
    )
    deadline, explicit = of(record(programs.hurried), "cancel")
    assert (deadline.task, deadline.by, deadline.text) == (1, None, "a deadline is over")
    assert (explicit.task, explicit.by, explicit.text) == (2, 1, "cancel() was called: enough of it")
    assert explicit.nursery is None
    assert explicit.where == f"{programs.__file__}:{line_of(programs.hurried, 'scope.cancel(')}"
    assert (deadline.where, cancelled.where) == ("", "")


def test_a_sleep_that_is_over_is_no_cancellation():
    woken = of(record(programs.hurried), "wake")
    assert ("its time is over", 1) in [(one.text, one.task) for one in woken]


def test_a_deadline_around_a_sleep_is_one():
    async def main():
        with trio.move_on_after(1):
            await trio.sleep(5)

    assert [one.text for one in of(record(main), "cancel")] == ["a deadline is over"]


def test_who_is_woken_by_whom():
    async def main():
        event = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(event.wait)
            await trio.testing.wait_all_tasks_blocked()
            event.set()

    recorder = record(main)
    assert [(one.task, one.by) for one in of(recorder, "wake", task=2)] == [(2, 1)]


def test_what_only_lets_others_run_is_a_pause():
    async def main():
        await trio.lowlevel.checkpoint()

    kinds = [one.kind for one in record(main).steps()]
    assert kinds == ["spawn", "run", "pause", "run", "end"]


def test_a_cancellation_found_at_a_checkpoint_comes_after_the_wait():
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel(reason="at once")
            await trio.sleep_forever()

    steps = record(main).steps()
    assert [one.kind for one in steps] == ["spawn", "run", "wait", "cancel", "run", "end"]
    assert (steps[3].by, steps[3].text) == (1, "cancel() was called: at once")


def test_the_first_task_may_fail_and_its_error_comes_out():
    async def main():
        raise KeyError("gone")

    with Recorder() as recorder, pytest.raises(KeyError):
        trio.run(main)
    assert [(one.task, one.text) for one in of(recorder, "fail")] == [(1, "KeyError: 'gone'")]


async def stubborn(seconds=1):
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


@pytest.mark.parametrize(("child", "end"), [(trio.sleep_forever, "gone"), (stubborn, "end")])
def test_an_error_of_the_nurserys_own_block_is_not_its_childs_which_may_also_return(child, end):
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await trio.testing.wait_all_tasks_blocked()
            raise OSError("of the block")

    recorder = programs.record_failing(main)
    ends = of(recorder, "end", "fail", "gone")
    assert [(one.task, one.kind) for one in ends] == [(2, end), (1, "fail")]
    assert ends[1].text == "ExceptionGroup of OSError: of the block"


def test_a_task_that_returns_after_another_has_failed_has_returned():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn, 5)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(programs.fails)

    recorder = programs.record_failing(main)
    ends = of(recorder, "end", "fail", "gone")
    assert [(one.task, one.kind) for one in ends] == [(3, "fail"), (2, "end"), (1, "fail")]


def test_a_task_that_says_started_moves():
    async def starts(task_status):
        await trio.sleep(1)
        task_status.started()
        await trio.sleep(1)

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(starts)

    recorder = record(main)
    (moved,) = of(recorder, "started")
    opened = {one.nursery for one in of(recorder, "open")}
    assert (moved.task, moved.nursery in opened) == (2, True)
    assert moved.nursery != of(recorder, "spawn", task=2)[0].nursery
    assert {one.nursery for one in of(recorder, "close")} == opened


def test_what_a_server_tells_stands_among_the_steps_of_its_tasks():
    recorder = record(programs.shop)
    told = {one.text: one for one in of(recorder, "event")}
    begins = next(one for text, one in told.items() if "a request of connection 1 begins" in text)
    assert begins.name.startswith("connection 1 of memory://shop/")
    assert any("finished, 6 bytes received, 6 sent" in text for text in told)
    assert any("drains: 1 connections, 1 of them idle, 5 s of grace" in text for text in told)
    handler = f"{programs.__file__}:{line_of(programs.shout, 'conn.lines()')}"
    assert handler in {one.where for one in of(recorder, "wait", task=begins.task)}
    assert len(recorder.timeline.picture().bands[0].boxes) == 1


def test_steps_and_timeline_have_one_clock():
    recorder = record(programs.shop)
    drain = next(one.time for one in of(recorder, "event") if "drains:" in one.text)
    flag = next(one for one in recorder.timeline.picture().bands[0].flags if one.kind == "drain")
    assert drain == pytest.approx(flag.time, abs=1e-6)


def test_a_mark_is_a_step():
    recorder = Recorder()

    async def main():
        recorder.mark("here \x1b it is")

    with recorder:
        trio.run(main)
    assert [(one.task, one.text) for one in of(recorder, "event")] == [(1, "here \\x1b it is")]


async def test_inside_of_a_run_it_takes_the_tasks_that_are_there(autojump_clock):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 5, name="an old one")
        await trio.testing.wait_all_tasks_blocked()
        with Recorder() as recorder:
            await trio.sleep(10)
    old = next(one for one in recorder.steps() if one.name == "an old one")
    kinds = [one.kind for one in recorder.steps() if one.task == old.task]
    assert kinds == ["spawn", "wait", "wake", "run", "end"]


def test_one_run_after_another_and_one_in_a_thread():
    with Recorder() as recorder:
        record_nothing = trio.run(trio.sleep, 0)
        with in_a_thread(trio.run, trio.sleep, 0):
            pass
    assert record_nothing is None
    starts = of(recorder, "spawn")
    assert [one.task for one in starts] == [1, 2]
    assert starts[0].time <= starts[1].time


# What it costs, and what it leaves


def instruments():
    """The number of instruments of this run."""
    return len(trio.lowlevel.current_task()._runner.instruments["_all"])


async def test_without_it_there_is_no_instrument_and_no_observer(autojump_clock):
    before, setup = instruments(), trio._core._run.setup_runner
    async with open_server(programs.shout) as server:
        observers = len(server.server.observers)
        with Recorder():
            assert instruments() == before + 1
        assert instruments() == before
        assert len(server.server.observers) == observers
    assert trio._core._run.setup_runner is setup
    assert emitter.watchers == []


def test_a_run_that_outlives_the_block_loses_its_instrument():
    recorder = Recorder()
    seen = []

    async def main():
        seen.append(instruments())
        recorder.__exit__(None, None, None)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        seen.append(instruments())

    recorder.__enter__()
    trio.run(main)
    assert seen[0] == seen[1] + 1
    assert [one.kind for one in recorder.steps()] == ["spawn", "run"]


def test_it_holds_no_task_that_has_ended_and_no_error():
    recorder = Recorder()

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(trio.sleep, 1)
        (instrument,) = recorder._instruments.values()
        assert len(instrument._tasks) == 1
        assert len(instrument._brackets) <= 2

    with recorder:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert recorder._instruments == {}


def test_no_hook_ever_raises(caplog):
    with caplog.at_level(logging.DEBUG, "trio.abc.Instrument"):
        for program in (programs.family, programs.hurried, programs.shop):
            record(program)
    assert caplog.records == []


def test_the_oldest_are_forgotten_and_it_says_so():
    async def main():
        for _ in range(100):
            await trio.lowlevel.checkpoint()

    recorder = record(main, max_events=30)
    steps = recorder.steps()
    assert len(steps) == 30
    assert recorder.forgotten == 2 + 2 * 100 + 1 - 30  # start, turns and pauses, last turn, end
    assert {one.name.rpartition(".")[2] for one in steps} == {"main"}
    assert "Note: the oldest 173 events were forgotten to bound the memory." in recorder.html()


def test_it_is_used_once():
    with Recorder() as recorder:
        pass
    with pytest.raises(RuntimeError, match="make another one"):
        recorder.__enter__()


def test_its_bound_is_checked():
    with pytest.raises(ValueError, match="max_events must be from 1 on, not 0"):
        Recorder(max_events=0)
    with pytest.raises(TypeError, match="max_events must be an int from 1 on, not '1'"):
        Recorder(max_events="1")


def test_a_trio_without_the_place_is_told_what_to_do(monkeypatch):
    monkeypatch.delattr(trio._core._run, "setup_runner")
    with pytest.raises(RuntimeError, match="enter it inside of the trio program"):
        Recorder().__enter__()
    assert not trio_internals.can_hear_of_runs()


def test_another_one_around_trio_is_left_alone(monkeypatch):
    run = trio._core._run
    with Recorder():
        ours = run.setup_runner
        monkeypatch.setattr(run, "setup_runner", lambda *args: ours(*args))
        theirs = run.setup_runner
    assert run.setup_runner is theirs
    # Ours is still called, within theirs, and records nothing twice.
    with Recorder() as recorder:
        trio.run(trio.sleep, 0)
    assert [one.task for one in of(recorder, "spawn")] == [1]


class Slow(trio.abc.AsyncResource):
    async def aclose(self):
        await trio.sleep(1)


async def test_what_trio_itself_cancels_is_known_as_that(autojump_clock):
    with Recorder() as recorder:
        try:
            await trio.aclose_forcefully(Slow())
        except trio.Cancelled:
            pass
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    _, kept, _ = recorder._keeper.copy()
    by_trio, own = [one.stack for one in kept if one.kind == "cancel" and one.stack is not None]
    assert (by_trio.is_of_trio(), by_trio.frames[-1].function) == (True, "aclose_forcefully")
    assert (own.is_of_trio(), own.frames[-1].file) == (False, __file__)
