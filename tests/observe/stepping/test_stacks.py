"""The owner of a line, the frame that shows the place of a task, and what it waits for."""

from __future__ import annotations

import contextlib
import os

import pytest
import trio

import triosock
from triosock.observe.stepping.sources import MAX_FILE, Sources, short_path
from triosock.observe.stepping.stacks import MAX_FRAMES, Frame, Stack, Stacks, owner_of

TRIO = trio.__file__
OURS = triosock.__file__


@pytest.mark.parametrize(
    ("file", "owner"),
    [
        (TRIO, "trio"),
        (OURS, "triosock"),
        (contextlib.__file__, "library"),
        (pytest.__file__, "library"),
        ("<frozen runpy>", "library"),
        (__file__, "own"),
        ("server.py", "own"),
        ("<ipython-input-1>", "own"),
    ],
)
def test_whose_file_it_is(file, owner):
    assert owner_of(file) == owner


@pytest.mark.parametrize(
    ("frames", "place", "waits"),
    [
        ([(__file__, "main"), (TRIO, "sleep"), (TRIO, "sleep_until")], 0, ("time to pass", "sleep")),
        ([(__file__, "sleep"), (TRIO, "Event.wait")], 0, ("an event that another task sets", "Event.wait")),
        (
            [
                (OURS, "Task.run"),
                (__file__, "handle"),
                (OURS, "_Lines.__anext__"),
                (OURS, "X.receive"),
            ],
            1,
            ("", "X.receive"),
        ),
        ([(OURS, "EpollReader.run"), (TRIO, "wait_readable")], 0, None),
        ([(TRIO, "Nursery.start"), (TRIO, "wait_task_rescheduled")], 0, None),
        ([(__file__, "main")], 0, ("", "")),
        ([], None, ("", "")),
    ],
)
def test_where_a_task_is_and_what_it_waits_for(frames, place, waits):
    stack = Stack(tuple(Frame(file, 1, function) for file, function in frames))
    assert stack.place() == place
    if waits is not None:
        assert stack.waits_for() == waits
    else:
        assert stack.waits_for()[0]


async def test_the_same_place_is_the_same_stack(autojump_clock):
    stacks, seen = Stacks(), []

    async def sleeper():
        await trio.sleep(5)

    async def deep(number):
        await (deep(number - 1) if number else trio.sleep(5))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(sleeper)
        nursery.start_soon(deep, 200)
        await trio.testing.wait_all_tasks_blocked()
        seen = {stacks.of_task(task) for task in nursery.child_tasks}
        nursery.cancel_scope.cancel()
    assert len(seen) == 2
    assert max(len(one.frames) for one in seen) == MAX_FRAMES


def test_a_page_does_not_tell_where_this_machine_keeps_things(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert short_path(str(tmp_path / "inner" / "a.py")) == os.path.join("inner", "a.py")
    assert short_path(TRIO) == os.path.join("trio", "__init__.py")
    assert short_path(contextlib.__file__) == "contextlib.py"
    assert short_path("/home/ada/secret/plans/a.py") == os.path.join("plans", "a.py")
    assert short_path("a\x1b.py") == "a\\x1b.py"


def test_own_files_are_kept_whole_once_and_of_others_the_lines_that_occur(tmp_path):
    mine, large = tmp_path / "mine.py", tmp_path / "large.py"
    mine.write_text("one\ntwo\n")
    large.write_text("x = 1\n" * (MAX_FILE // 6 + 1))
    sources = Sources()
    assert [sources.add(str(mine), 1), sources.add(str(mine), 2), sources.add(TRIO, 1)] == [0, 0, 1]
    sources.add(str(large), 3)
    first, second, third = sources.packed()
    assert first["text"] == ["one", "two"]
    assert list(second["lines"]) == [1]
    assert third["lines"] == {3: "x = 1"}
