"""Work in a background thread: adding it never waits."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time

import pytest
import trio

from tests.servers import drained
from tests.waiting import PATIENCE, threads_named, until
from triosock.observe import AccessLog, LineWriter
from triosock.observe.background_thread import BackgroundThread
from triosock.observe.line_writer import MAX_LINES


def background_thread(**options):
    """One that a busy machine gives time enough to end."""
    return BackgroundThread("tests background", **{"grace": PATIENCE, **options})


async def test_work_is_done_in_order_and_the_thread_ends_with_the_block():
    done = []
    async with background_thread() as background:
        assert len(threads_named("tests background")) == 1
        for number in range(100):
            assert background.put(done.append, number)
    assert done == list(range(100))
    assert threads_named("tests background") == []
    assert not background.put(done.append, 100)
    assert (background.dropped, background.failed) == (1, 0)


async def test_what_hangs_holds_up_nobody_and_is_left_behind_with_a_warning(caplog):
    hangs, goes_on = threading.Event(), threading.Event()

    def hang():
        hangs.set()
        goes_on.wait()

    try:
        with trio.fail_after(PATIENCE):
            async with background_thread(grace=0.05, most=10) as background:
                background.put(hang)
                await until(hangs.is_set)
                taken = sum(background.put(print) for _ in range(100))
        assert taken == 10
        assert background.dropped == 100  # what was refused, and what was undone
        assert (
            "tests background hangs: its thread is left behind after 0.05 s, with 100 pieces" in caplog.text
        )
        assert len(threads_named("tests background")) == 1
    finally:
        goes_on.set()
        for thread in threads_named("tests background"):
            thread.join(PATIENCE)


async def test_the_end_is_waited_for_in_a_cancelled_scope_too():
    done = []
    with trio.CancelScope() as scope:
        async with background_thread() as background:
            background.put(done.append, 1)
            scope.cancel()
            await trio.sleep_forever()
    assert done == [1]
    assert threads_named("tests background") == []


async def test_a_clock_of_tests_does_not_shorten_the_end(autojump_clock):
    slow, done = threading.Event(), []
    async with background_thread() as background:
        background.put(slow.wait, 0.1)
        background.put(done.append, 1)
    assert done == [1]


async def test_failures_are_counted_and_the_first_is_logged(caplog):
    async with background_thread() as background:
        for _ in range(3):
            background.put(int, "x")
    assert background.failed == 3
    assert caplog.text.count("the first failure of its work") == 1


async def test_a_block_is_entered_once():
    async with background_thread() as background:
        with pytest.raises(RuntimeError, match="make another one"):
            await background.__aenter__()


# Lines


async def test_lines_are_appended(tmp_path):
    path = tmp_path / "access.log"
    path.write_text("before\n")
    async with LineWriter(path, grace=PATIENCE) as write:
        for number in range(1000):
            write(f"line {number} \ud800")
    lines = path.read_text().splitlines()
    assert lines == ["before", *(rf"line {number} \ud800" for number in range(1000))]
    assert write.dropped == 0


async def test_a_file_that_was_rotated_or_removed_is_opened_again(tmp_path):
    path = tmp_path / "access.log"
    async with LineWriter(path, grace=PATIENCE) as write:
        write("one")
        await until_it_says(path, "one\n")
        path.rename(tmp_path / "access.log.1")
        path.touch()  # as logrotate's `create` does
        write("two")
        await until_it_says(path, "two\n")
        path.unlink()
        write("three")
        await until_it_says(path, "three\n")
    assert (tmp_path / "access.log.1").read_text() == "one\n"


async def until_it_says(path, text):
    await until(lambda: path.exists() and path.read_text() == text)


async def test_a_folder_that_vanishes_costs_lines_and_not_the_rest(tmp_path, caplog):
    folder = tmp_path / "logs"
    folder.mkdir()
    async with LineWriter(folder / "access.log", grace=PATIENCE) as write:
        (folder / "access.log").unlink()
        folder.rmdir()
        write("lost")
        await until(lambda: write.dropped)
        folder.mkdir()
        write("there")
    assert write.dropped == 1
    assert (folder / "access.log").read_text() == "there\n"
    assert caplog.records[0].levelno == logging.ERROR


async def test_a_line_that_was_written_in_part_takes_no_other_with_it():
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)  # as a full disk, it takes a part, and then nothing
        room = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        lines = [f"{number:049}" for number in range(100)]  # 50 bytes each, with the newline
        whole = room // 50
        async with LineWriter(writer, grace=PATIENCE) as write:
            for line in lines:
                write(line)
            await until(lambda: write.dropped)
            assert write.dropped == 100 - whole
            heard = os.read(reader, 2 * room).decode()
            write("after")
            write("that")
        heard += os.read(reader, room).decode()
        assert heard.splitlines() == [*lines[:whole], lines[whole][: room % 50], "after", "that"]
        assert write.dropped == 100 - whole
    finally:
        os.close(reader)
        os.close(writer)


async def test_what_cannot_be_opened_is_told_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        async with LineWriter(tmp_path / "no" / "access.log"):
            pass
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        async with LineWriter(tmp_path / "pipe"):  # nobody reads
            pass
    assert threads_named("triosock lines") == []


async def test_a_pipe_that_nobody_reads_delays_no_connection(serving, dial):
    reader, writer = os.pipe()
    long = "x" * 200
    try:
        async with LineWriter(writer, grace=0.01) as write:
            log = AccessLog(write, format=f"$cause {long}")
            async with serving(bye, observers=[log]) as server:
                with trio.fail_after(3 * PATIENCE):
                    for _ in range(500):  # 100 kB: a pipe holds 64
                        async with await dial(server) as client:
                            assert await client.receive_some() == b"bye\n"
                    await drained(server)
            for _ in range(MAX_LINES + 1):
                write(long)
            assert write.dropped
    finally:
        os.close(reader)  # ends the write that hangs
        for thread in threads_named("triosock lines"):
            thread.join(PATIENCE)
        os.close(writer)


async def bye(conn):
    await conn.send_all(b"bye\n")


async def test_work_gathers_and_all_of_it_is_done_at_the_end_without_a_wait() -> None:
    done: list[int] = []
    with trio.fail_after(PATIENCE):
        async with background_thread(gather=3600) as background:
            for number in range(3):
                background.put(done.append, number)
                # A thread that is woken for each piece of work would have done this one.
                await trio.to_thread.run_sync(time.sleep, 0.02)
            assert done == []
    assert done == [0, 1, 2]
