"""SIGUSR2: a new parent takes the service over, or the old one goes on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import triosock
from tests.programs import PATIENCE, Program, dial, running
from triosock.observe.control import parse_tree
from triosock.workers.receiver import NotifyReceiver

from .conftest import HERE, children, service, until

HANDLER = """
VERSION = b"{version}"
async def handle(conn):
    async for line in conn.lines():
        await conn.send_all(VERSION + b" " + line)
"""


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, HANDLER.format(version="one"))
    return tmp_path


def write(folder: Path, text: str) -> None:
    path = folder / "shop.py"
    path.write_text(text)
    # Two versions within one second: the compiled one would be taken for the new one.
    os.utime(path, ns=(next(clock), next(clock)))


clock = iter(range(10**18, 2 * 10**18, 10**9))


def serve(folder: Path, *more: object, health: bool = False) -> contextlib.AbstractContextManager[Program]:
    config = folder / "server.toml"
    config.write_text(
        (f'health = "unix://{folder}/health"\n' if health else "")
        + f'workers = 1\ncontrol = "{folder}/control"\n'
        "[supervision]\nsettle = 0\nready = 60\n"
        '[endpoints.web]\naddress = "tcp://127.0.0.1:0"\nhandler = "shop:handle"\n'
        f'[endpoints.local]\naddress = "unix://{folder}/socket"\nhandler = "shop:handle"\nmode = "600"\n'
    )
    return running("-m", "triosock", "serve", "--config", config, *more, cwd=folder)


@contextlib.contextmanager
def taken_over(program: Program) -> Iterator[int]:
    """The process id of the successor, which the end of the block ends: it is a child of nobody here."""
    successor = int(program.wait_for(r"process (\d+) has taken over")[1])
    try:
        yield successor
    finally:
        os.kill(successor, signal.SIGTERM)


def tree_of(path: Path) -> triosock.observe.Node:
    with dial(path) as client:
        client.say(b'{"want": "tree"}\n')
        return parse_tree(client.line())


def test_a_new_parent_takes_over_and_the_old_one_drains(folder):
    with serve(folder) as program:
        port = int(program.wait_for(r"workers: 1 workers on tcp://127\.0\.0\.1:(\d+)")[1])
        file = (folder / "socket").stat().st_ino
        with dial(port) as client:
            assert client.ask(b"hello\n") == b"one hello\n"
            write(folder, HANDLER.format(version="two"))
            program.signal(signal.SIGUSR2)
            with taken_over(program) as successor:
                assert client.rest() == b""  # between two requests
                assert program.process.wait(PATIENCE) == 0
                for address in (port, folder / "socket"):
                    with dial(address) as other:
                        assert other.ask(b"hello\n") == b"two hello\n"
                assert (folder / "socket").stat().st_ino == file
                assert tree_of(folder / "control").name == f"parent {successor}"
        program.wait_for("workers: drained in(.|\n)*workers: drained in")
        # It is a child of nobody here: the pipe's end says that it has gone.
        program.wait()
        assert not (folder / "socket").exists()
        assert not (folder / "control").exists()
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.1", port)) != 0


def test_a_new_parent_may_have_other_paths_and_no_file_of_either_is_left(folder):
    with serve(folder, health=True) as program:
        program.wait_for("workers: 1 workers")
        before = {folder / name for name in ("socket", "control", "health")}
        assert all(one.exists() for one in before)
        config = folder / "server.toml"
        config.write_text(re.sub(r"(?m)/(socket|control|health)\"", r'/other_\1"', config.read_text()))
        program.signal(signal.SIGUSR2)
        after = {folder / f"other_{one.name}" for one in before}
        with taken_over(program) as successor:
            assert program.process.wait(PATIENCE) == 0
            assert all(one.exists() for one in after)
            assert not any(one.exists() for one in before)
            with dial(folder / "other_socket") as client:
                assert client.ask(b"hello\n") == b"one hello\n"
            assert tree_of(folder / "other_control").name == f"parent {successor}"
        program.wait()
        assert not any(one.exists() for one in after)


@pytest.mark.parametrize(
    ("text", "words"),
    [("import no_such_module", "the successor exited with 1 before it was ready"), ("(", "exited with 1")],
)
def test_a_new_parent_that_fails_changes_nothing(folder, text, words):
    with serve(folder) as program:
        program.expects_trouble = True
        port = int(program.wait_for(r"workers: 1 workers on tcp://127\.0\.0\.1:(\d+)")[1])
        write(folder, text)
        program.signal(signal.SIGUSR2)
        program.wait_for(f"upgrade: .*{words}")
        for address in (port, folder / "socket"):
            with dial(address) as client:
                assert client.ask(b"hello\n") == b"one hello\n"
                client.sock.shutdown(socket.SHUT_WR)
                assert client.rest() == b""
        assert program.stop() == 0
    assert not (folder / "socket").exists()


def test_a_new_parent_ends_if_the_old_one_was_killed_before_it_was_ready(folder):
    begun, go_on = folder / "begun", folder / "go_on"
    os.mkfifo(begun)
    os.mkfifo(go_on)
    with serve(folder) as program:
        program.wait_for("workers: 1 workers")
        waits = f"open({str(begun)!r}, 'w').close()\nopen({str(go_on)!r}).close()\n"
        write(folder, waits + HANDLER.format(version="two"))
        program.signal(signal.SIGUSR2)
        begun.read_text()
        program.process.kill()
        program.process.wait()
        go_on.write_text("")
        program.wait()  # for the end of the pipe: nothing of either is left
        assert re.search(r"triosock: .* was to follow has ended before", program.output)
    assert not (folder / "socket").exists()


async def test_a_new_parent_that_is_never_ready_is_ended():
    async with service(workers=1) as workers:
        object.__setattr__(workers._settings, "supervision", triosock.Supervision(ready=0.5))
        with pytest.raises(triosock.UpgradeFailed, match="was not ready within 1 s"):
            await workers.upgrade(["sleep", "60"])
        assert workers.statistics()[0].state == "ready"


@pytest.mark.parametrize("late", ["drain", "cancel"])
async def test_what_comes_when_the_successor_has_just_said_ready_comes_too_late(tmp_path, monkeypatch, late):
    path, control = tmp_path / "socket", tmp_path / "control"
    scope = trio.CancelScope()
    seen = []

    def register(receiver, process, callback):
        def call(fields):
            callback(fields)
            if "X_SUCCESSOR" in fields:
                seen.append(process)
                workers.drain() if late == "drain" else scope.cancel()

        plain(receiver, process, call)

    plain = NotifyReceiver.register
    monkeypatch.setattr(NotifyReceiver, "register", register)
    async with service(endpoints=[f"unix://{path}"], control=control, workers=1) as workers:
        with scope:
            await workers.upgrade([sys.executable, "-c", SUCCESSOR])
        assert workers.draining
        await workers.wait_closed()
        with ended_process(seen[0]):
            assert path.exists()
            assert control.exists()


@pytest.mark.parametrize("late", ["drain", "cancel"])
async def test_what_comes_when_the_successor_has_said_ready_and_nobody_has_read_it(
    tmp_path, monkeypatch, late
):
    path, said = tmp_path / "socket", tmp_path / "said"
    os.mkfifo(said)

    async def run(receiver):
        """As the plain one, until there is a successor: nothing is read then but what somebody asks for."""
        while not is_starting:
            receiver.read_pending()
            await trio.lowlevel.wait_readable(receiver._socket)

    def register(receiver, started, callback):
        nonlocal process, is_starting
        process, is_starting = started, is_up
        plain(receiver, started, callback)

    is_up, process, is_starting = False, 0, False
    plain = NotifyReceiver.register
    monkeypatch.setattr(NotifyReceiver, "run", run)
    monkeypatch.setattr(NotifyReceiver, "register", register)
    async with service(endpoints=[f"unix://{path}"], workers=1) as workers:
        is_up, scope = True, trio.CancelScope()

        async def upgrade():
            with scope:
                await workers.upgrade([sys.executable, "-c", SUCCESSOR, str(said)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upgrade)
            await trio.to_thread.run_sync(said.read_text)
            workers.drain() if late == "drain" else scope.cancel()
        assert workers.draining
        await workers.wait_closed()
        with ended_process(process):
            assert path.exists()


async def test_a_successor_that_is_ready_after_the_drain_has_begun_takes_nothing_over(monkeypatch):
    def register(receiver, process, callback):
        callbacks.append(callback)
        plain(receiver, process, callback)

    callbacks = []
    plain = NotifyReceiver.register
    async with service(workers=1) as workers:
        monkeypatch.setattr(NotifyReceiver, "register", register)

        async def upgrade():
            with pytest.raises(triosock.UpgradeFailed, match="the service drains, or has ended"):
                await workers.upgrade(["sleep", "60"])

        before = children()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upgrade)
            await until(lambda: callbacks)
            workers.drain()
            callbacks[0]({"READY": "1"})
        assert not children() - before


SUCCESSOR = """
import json, os, socket, sys, time
path = json.loads(os.environ["TRIOSOCK_HANDOVER"])["ready"]
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1\\nX_SUCCESSOR=1", path.replace("@", chr(0)))
for name in sys.argv[1:]:
    open(name, "w").close()
time.sleep(60)
"""


@contextlib.contextmanager
def ended_process(process):
    """The successor of this process, which has released it, is ended with the block."""
    try:
        yield
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_manager_that_does_not_read_delays_no_drain(monkeypatch, is_cancelled):
    class Stuck:
        path, watchdog, is_mute = "@manager", None, False

        async def main_process(self, process):
            seen.append(process)
            if is_cancelled:
                scope.cancel()
            await trio.sleep_forever()

        def mute(self):
            self.is_mute = True

    seen, scope, stuck = [], trio.CancelScope(), Stuck()
    for module in ("service", "upgrade"):
        monkeypatch.setattr(f"triosock.workers.{module}.current_notifier", lambda: stuck)
    async with service(workers=1) as workers:
        with trio.fail_after(PATIENCE), scope:
            await workers.upgrade([sys.executable, "-c", SUCCESSOR])
        with ended_process(seen[0]):
            assert workers.draining
            assert stuck.is_mute


async def test_a_cancelled_upgrade_leaves_no_process():
    async with service(workers=1) as workers:
        with trio.move_on_after(0.3):
            await workers.upgrade(["sleep", "60"])
        assert [one.state for one in workers.statistics()] == ["ready"]


async def test_a_service_that_drains_has_no_successor(tmp_path):
    path = tmp_path / "socket"
    async with service(endpoints=[f"unix://{path}"], workers=1) as workers:
        before = children()

        async def upgrade():
            with pytest.raises(triosock.UpgradeFailed, match="the service drains, or has ended"):
                await workers.upgrade(["sleep", "60"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upgrade)
            await until(lambda: children() - before)
            workers.drain()
        await upgrade()
        await workers.wait_closed()
        assert not path.exists()
        await upgrade()


async def test_a_service_that_is_cancelled_ends_its_successor_first():
    starting = children()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def upgrade():
                with trio.CancelScope(shield=True):
                    with pytest.raises(triosock.UpgradeFailed, match="the service drains, or has ended"):
                        await workers.upgrade(["sleep", "60"])

            async def serve(task_status):
                try:
                    await triosock.serve_workers(
                        f"{HERE}:shout", ["tcp://127.0.0.1:0"], workers=1, task_status=task_status
                    )
                finally:
                    assert children() == starting

            workers = await nursery.start(serve)
            before = children()
            nursery.start_soon(upgrade)
            await until(lambda: children() - before)
            scope.cancel()


async def test_process_1_is_not_followed(monkeypatch):
    async with service(f"{HERE}:shout", workers=1) as workers:
        monkeypatch.setattr("os.getpid", lambda: 1)
        with pytest.raises(triosock.UpgradeFailed, match="process 1 of a container"):
            await workers.upgrade()
        monkeypatch.undo()
