"""sd_notify: what a single server tells its service manager, which is a plain datagram socket here."""

from __future__ import annotations

import functools
import os
import select
import socket
import subprocess
import sys
import time

import pytest
import trio
import trio.testing

import triosock
from triosock.notify import (
    Notifier,
    call_notifying,
    current_notifier,
    format_message,
    parse_message,
    takes_task_status,
)

from .handlers import shout
from .programs import PATIENCE, dial, ended, running

PROGRAM = """
import functools, sys, time, trio, triosock, triosock.notify

async def handle(conn):
    async for line in conn.lines():
        if line == b"block\\n":
            time.sleep(60)
        if line == b"reload\\n":
            notifier = triosock.notify.current_notifier()
            await notifier.reloading()
            await notifier.ready("reloaded")
        await conn.send_all(line.upper())

async def several(*, task_status):
    async with trio.open_nursery() as nursery:
        await nursery.start(functools.partial(triosock.serve_tcp, handle, 0, name="first"))
        await nursery.start(functools.partial(triosock.serve_tcp, handle, 0, name="second"))
        print("both listen", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        task_status.started()

async def one():
    async with trio.open_nursery() as nursery:
        await nursery.start(functools.partial(triosock.serve_tcp, handle, 0, name="shout"))

async def broken():
    raise ValueError("no configuration")

import logging
logging.basicConfig(level="INFO")
triosock.run(PROGRAM, **OPTIONS)
"""


class Manager:
    """The service manager's end: a socket that each test reads."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + path[1:] if path.startswith("@") else path)
        self.sock.settimeout(PATIENCE)
        self.path = path

    def next(self) -> dict[str, str]:
        return parse_message(self.sock.recv(65_536))

    def next_but_pings(self) -> dict[str, str]:
        while (message := self.next()) == {"WATCHDOG": "1"}:
            pass
        return message

    def nothing(self) -> bool:
        readable, _, _ = select.select([self.sock], [], [], 0)
        return not readable


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path):
    path = str(tmp_path / "notify") if request.param == "file" else f"@triosock-test-{os.getpid()}"
    one = Manager(path)
    yield one
    one.sock.close()


@pytest.fixture
def source(tmp_path):
    def write(program: str, **options: object) -> str:
        path = tmp_path / "program.py"
        path.write_text(PROGRAM.replace("PROGRAM", program).replace("OPTIONS", repr(options)))
        return str(path)

    return write


def test_ready_is_told_when_the_first_server_listens_and_stopping_when_it_drains(manager, source):
    with running(source("one"), NOTIFY_SOCKET=manager.path) as program:
        assert manager.next() == {"READY": "1"}
        with dial(program.port()) as client:
            assert client.ask(b"hello\n") == b"HELLO\n"
            program.signal()
            assert manager.next() == {"STOPPING": "1"}
            assert client.rest() == b""
        assert program.wait() == 0
    assert manager.nothing()


def test_a_program_with_task_status_says_itself_when_it_is_ready(manager, source):
    process = subprocess.Popen(
        [sys.executable, source("several")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NOTIFY_SOCKET": manager.path},
    )
    with ended(process):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "both listen\n"
        assert manager.nothing()
        process.stdin.write("go\n")
        process.stdin.flush()
        assert manager.next() == {"READY": "1"}
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_a_program_that_fails_is_stopping_and_never_ready(manager, source):
    with running(source("broken"), NOTIFY_SOCKET=manager.path) as program:
        program.expects_trouble = True
        assert manager.next() == {"STOPPING": "1"}
        assert program.wait() == 1
    assert "ValueError: no configuration" in program.output
    assert "ExceptionGroup" not in program.output


def test_reloading_carries_the_monotonic_time_and_ready_follows(manager, source):
    with running(source("one"), NOTIFY_SOCKET=manager.path) as program:
        assert manager.next() == {"READY": "1"}
        before = time.monotonic_ns() // 1000
        with dial(program.port()) as client:
            client.say(b"reload\n")
            message = manager.next()
            assert message["RELOADING"] == "1"
            assert before <= int(message["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            assert manager.next() == {"READY": "1", "STATUS": "reloaded"}
            assert client.line() == b"RELOAD\n"
        program.stop()


def test_a_blocked_event_loop_feeds_no_watchdog(manager, source):
    with running(source("one"), NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="200000") as program:
        assert manager.next_but_pings() == {"READY": "1"}
        assert [manager.next() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3
        with dial(program.port()) as client:
            client.say(b"block\n")
            manager.sock.settimeout(2.0)  # ten intervals
            with pytest.raises(TimeoutError):
                for _ in range(20):
                    manager.next()


async def test_the_watchdog_of_a_loop_that_stands_as_soon_as_it_is_ready_is_fed_before(manager, monkeypatch):
    async def program(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    monkeypatch.setenv("NOTIFY_SOCKET", manager.path)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with triosock.DrainScope() as scope:
        await call_notifying(scope, program, (), {})
    assert [manager.next() for _ in range(2)] == [{"WATCHDOG": "1"}, {"READY": "1"}]


def test_nothing_is_told_if_the_program_does_not_want_it(manager, source):
    with running(source("one", notify=False), NOTIFY_SOCKET=manager.path) as program:
        program.port()
        program.stop()
    assert manager.nothing()


def test_a_manager_that_is_not_there_is_logged_and_the_server_serves(tmp_path, source):
    with running(source("one"), NOTIFY_SOCKET=str(tmp_path / "nobody")) as program:
        with dial(program.port()) as client:
            assert client.ask(b"hello\n") == b"HELLO\n"
        assert program.stop() == 0
    assert "the service manager is not told anything" in program.output


async def test_a_manager_that_goes_away_is_logged_once(manager, caplog):
    notifier = Notifier(manager.path)
    manager.sock.close()
    if not manager.path.startswith("@"):
        os.unlink(manager.path)
    await notifier.ready()
    await notifier.status("still here")
    notifier.close()
    assert len(caplog.records) == 1
    assert manager.path in caplog.text


async def test_a_manager_that_made_its_socket_anew_is_found_again(tmp_path):
    path = str(tmp_path / "notify")
    first = Manager(path)
    notifier = Notifier(path)
    first.sock.close()
    os.unlink(path)
    second = Manager(path)
    await notifier.status("there")
    assert second.next() == {"STATUS": "there"}
    second.sock.close()
    notifier.close()


async def test_a_full_queue_is_waited_for_and_nothing_is_lost(manager, autojump_clock):
    notifier = Notifier(manager.path)
    sent = 0
    while notifier.send_nowait(X_NUMBER=sent):
        sent += 1
    with trio.move_on_after(5) as scope:
        await notifier.ready()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.ready)
        await trio.testing.wait_all_tasks_blocked()
        assert [manager.next()["X_NUMBER"] for _ in range(sent)] == [str(one) for one in range(sent)]
    assert manager.next() == {"READY": "1"}
    assert manager.nothing()
    notifier.close()


async def test_the_watchdog_is_fed_twice_in_each_interval(manager, autojump_clock):
    notifier = Notifier(manager.path, watchdog=10)
    with trio.move_on_after(21):
        await notifier.feed_watchdog()
    assert [manager.next() for _ in range(5)] == [{"WATCHDOG": "1"}] * 5
    assert manager.nothing()
    notifier.close()


async def test_without_a_watchdog_nothing_is_fed(manager):
    notifier = Notifier(manager.path)
    await notifier.feed_watchdog()
    assert manager.nothing()
    notifier.close()


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_environment_is_read_once_and_removed(manager, environ, watchdog):
    environ = {"NOTIFY_SOCKET": manager.path, "HOME": "/", **environ}
    notifier = Notifier.from_environment(environ)
    assert notifier is not None
    assert (notifier.path, notifier.watchdog) == (manager.path, watchdog)
    assert environ == {"HOME": "/"}
    notifier.close()


@pytest.mark.parametrize("path", ["relative", "vsock:2:1234"])
def test_an_address_that_is_no_unix_socket_is_refused(path, caplog):
    with pytest.raises(ValueError, match="absolute path or @NAME"):
        Notifier(path)
    assert Notifier.from_environment({"NOTIFY_SOCKET": path}) is None
    assert "absolute path or @NAME" in caplog.text


def test_a_message_is_lines_and_a_newline_in_a_value_cannot_add_one():
    data = format_message(STATUS="a\nREADY=1", ERRNO=2)
    assert data == b"STATUS=a READY=1\nERRNO=2"
    assert parse_message(data) == {"STATUS": "a READY=1", "ERRNO": "2"}
    assert parse_message(b"READY=1\n\njunk\nX=a=b") == {"READY": "1", "X": "a=b"}


async def test_without_a_manager_there_is_no_notifier():
    assert current_notifier() is None


def test_a_task_status_counts_if_nobody_has_filled_it():
    async def taking(*, task_status: object) -> None: ...

    async def other() -> None: ...

    assert takes_task_status(taking, {})
    assert not takes_task_status(taking, {"task_status": trio.TASK_STATUS_IGNORED})
    assert not takes_task_status(other, {})
    assert not takes_task_status(print, {})


def test_a_wrapper_gets_a_task_status_only_if_it_passes_it_on():
    @functools.wraps(triosock.serve_tcp)
    async def main():
        await triosock.serve_tcp(shout, 0)

    @functools.wraps(triosock.serve_tcp)
    async def passes_on(*args, **options):
        await triosock.serve_tcp(*args, **options)

    assert not takes_task_status(main, {})
    assert not takes_task_status(functools.partial(main), {})
    assert takes_task_status(passes_on, {})
    assert takes_task_status(functools.partial(passes_on, shout), {})
    assert takes_task_status(functools.partial(triosock.serve_tcp, shout), {})
    filled = functools.partial(triosock.serve_tcp, task_status=None)
    assert not takes_task_status(filled, {})
