"""`triosock top --pid`: a process that was not prepared, or only by `allow_top`; nothing is left in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio

from tests.programs import PATIENCE, ROOT, dial, running
from tests.waiting import eventually
from triosock.cli import main, processes
from triosock.cli.arguments import OperatingSystemError
from triosock.cli.processes import ProcessEnded, inspect_process
from triosock.observe import allow_top, peek

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at on Linux only")
by_interpreter = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="sys.remote_exec is new in Python 3.14"
)

#: Answers with all that a look could leave: modules, and functions that wait for the collector of cycles.
NATIVE = """
import gc, sys, trio, triosock
async def shout(conn):
    async for line in conn.lines(): await conn.send_all(state())
def state():
    functions = [one for one in gc.get_objects() if getattr(one, "__module__", "") == "triosock peek"]
    return " ".join([*sorted(sys.modules), str(functions)]).encode() + b"\\n"
async def work():
    await trio.sleep_forever()
async def main():
    async with trio.open_nursery() as nursery:
        for _ in range(WORK):
            nursery.start_soon(work)
        server = await nursery.start(triosock.serve_tcp, shout, 0)
        print(f"shouts: listens on {server.addresses[0]} ", flush=True)
"""
BY_RUN = NATIVE + "triosock.run(main, grace=0.1)\n"
UNPREPARED = NATIVE + "trio.run(main)\n"
ALLOWED = NATIVE + "from triosock.observe import allow_top\nwith allow_top():\n    trio.run(main)\n"
COMPAT = """
import contextlib, threading
import triosock.compat as socketserver
from triosock.observe import allow_top
class Shout(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Shout)
print(f"shouts: listens on tcp://127.0.0.1:{server.server_address[1]} ", flush=True)
with ALLOW:
    server.serve_forever()
"""


@contextlib.contextmanager
def program(tmp_path, text, **values):
    """One that serves by now, with these values for their names in the text."""
    for name, value in values.items():
        text = text.replace(name, str(value))
    path = tmp_path / "mine.py"
    path.write_text(text)
    with running(path) as target:
        target.port("shouts")
        yield target


def threads(pid):
    return sorted(os.listdir(f"/proc/{pid}/task"))


def files(pid):
    folder = f"/proc/{pid}/fd"
    found = []
    for name in sorted(os.listdir(folder)):
        with contextlib.suppress(FileNotFoundError):  # of the listing itself
            found.append((name, os.readlink(f"{folder}/{name}")))
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where directories for questions and answers are made, which must be empty at the end."""
    folder = tmp_path / "asked"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(processes, "ANSWER_TIMEOUT", PATIENCE)
    yield folder
    assert list(folder.iterdir()) == []


def found(tree, kind, name=""):
    return [one for one in tree.walk() if one.kind == kind and name in one.name]


async def look_until(pid, is_right):
    """Look again until what is seen is what is waited for."""
    with trio.fail_after(PATIENCE):
        while True:
            seen = await inspect_process(pid, 50)
            if is_right(seen.tree):
                return seen


# What is seen


WAYS = [BY_RUN, ALLOWED, pytest.param(UNPREPARED, marks=by_interpreter)]


@pytest.mark.parametrize("text", WAYS, ids=["run", "allowed", "unprepared"])
async def test_servers_and_tasks_of_a_trio_program(tmp_path, text):
    with program(tmp_path, text, WORK=3) as target:
        with dial(target.port("shouts")) as client:
            client.say(b"x\n")
            client.line()
            seen = await look_until(
                target.process.pid,
                # It is on its way to its wait; and a slow machine describes less in the time that there is.
                lambda tree: (
                    [(one.state, one.where != "") for one in found(tree, "connection")] == [("idle", True)]
                    and [one.where != "" for one in found(tree, "task", "work")] == [True] * 3
                ),
            )
            (server,) = found(seen.tree, "server")
            (connection,) = found(server, "connection")
            assert connection.where == "mine.py:4 in shout"
            assert connection.due_to == "Timeouts.idle"
            (run,) = found(seen.tree, "trio run")
            assert run.name == "in MainThread"
            assert {one.where for one in found(run, "task", "work")} == {"mine.py:9 in work"}
            assert seen.cpu > 0
            assert seen.paused > 0


@pytest.mark.parametrize(
    "allow", ["allow_top()", pytest.param("contextlib.nullcontext()", marks=by_interpreter)]
)
async def test_requests_of_a_compat_server_and_their_threads(tmp_path, allow):
    with program(tmp_path, COMPAT, ALLOW=allow) as target:
        with dial(target.port("shouts")) as client:
            assert client.ask(b"x\n") == b"X\n"
            seen = await look_until(
                target.process.pid, lambda tree: any(one.where for one in found(tree, "connection"))
            )
            (server,) = found(seen.tree, "server", "ThreadingTCPServer")
            assert server.counts == (("active", 1),)
            (request,) = found(server, "connection")
            # On its way to the next line.
            assert request.where in ("mine.py:7 in handle", "mine.py:8 in handle")
            assert str(client.sock.getsockname()[1]) in request.peer
            (thread,) = found(request, "thread")
            assert thread.name.startswith("Thread-1")


@pytest.mark.parametrize("text", WAYS, ids=["run", "allowed", "unprepared"])
async def test_nothing_is_left_behind(tmp_path, folder, text):
    with program(tmp_path, text, WORK=3) as target:
        pid = target.process.pid
        with dial(target.port("shouts")) as client:
            modules = client.ask(b"x\n")
            before = threads(pid), files(pid)
            for _ in range(3):
                await inspect_process(pid, 50)
            assert (threads(pid), files(pid)) == before
            assert client.ask(b"x\n") == modules
            assert list(folder.iterdir()) == []


@pytest.mark.parametrize("text", WAYS, ids=["run", "allowed", "unprepared"])
async def test_the_pause_is_bounded_however_much_there_is(tmp_path, text):
    with program(tmp_path, text, WORK=20_000) as target:
        looks = [await inspect_process(target.process.pid, 10_000) for _ in range(10)]
        # Of its own processor's time, the best of some: this machine has other things to do.
        assert min(one.cpu for one in looks) < 0.005
        (run,) = found(looks[0].tree, "trio run")
        assert dict(run.counts)["tasks"] > 20_000
        described = len(found(run, "task", "work"))
        assert described + sum(one.more for one in run.walk()) >= 20_000


def can_unshare():
    done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return done.returncode == 0


@pytest.mark.parametrize("text", [BY_RUN, UNPREPARED], ids=["run", "unprepared"])
async def test_a_process_in_a_container_has_to_allow_it(tmp_path, text):
    if not shutil.which("unshare") or not can_unshare():
        pytest.skip("this user may not make namespaces")
    if any(Path(one).is_relative_to("/tmp") for one in (ROOT, sys.prefix)):
        pytest.skip("this checkout is in /tmp, which is hidden from the process")
    path = tmp_path / "mine.py"
    path.write_text(text.replace("WORK", "1"))
    # Its /tmp is not this one: it runs what it has read from stdin.
    command = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs none /tmp && exec {sys.executable} -"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        path.open() as file,
        subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, cwd=ROOT, env=environment) as process,
    ):
        try:
            assert b"listens on" in process.stdout.readline()
            if text == BY_RUN:
                assert found((await inspect_process(process.pid, 10)).tree, "server")
            else:
                with pytest.raises(OperatingSystemError, match="has another root"):
                    await inspect_process(process.pid, 10)
            assert os.listdir(f"/proc/{process.pid}/root/tmp") == []
        finally:
            process.kill()


# By the command


def test_the_command_shows_it_once(tmp_path, capsys):
    with program(tmp_path, BY_RUN, WORK=1) as target:

        def shows_the_task() -> bool:
            assert main(["top", "--pid", str(target.process.pid), "--once"]) == 0
            shown = capsys.readouterr().out
            assert f"run process {target.process.pid} · paused for " in shown
            return "task __main__.work · at mine.py:9 in work" in shown

        # A slow machine describes less in the time that there is.
        assert eventually(shows_the_task)
        assert target.stop() == 0


def test_the_end_of_the_process_is_told(tmp_path, capsys):
    with program(tmp_path, BY_RUN, WORK=1) as target:
        pid = target.process.pid
        assert target.stop() == 0
    assert main(["top", "--pid", str(pid), "--once"]) == 1
    assert f"there is no process {pid}" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["top"], ["top", "x.sock", "--pid", "1"]])
def test_it_takes_a_socket_or_a_process_and_not_both(words, refused):
    assert "give either a control socket or a process" in refused(words)


# Who cannot be looked at


WAITS = "import threading; print(flush=True); threading.Event().wait()"


@contextlib.contextmanager
def sleeper(text):
    """A process that waits in the kernel, and waits still after the block."""
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            # What comes before that is still code of Python, which answers.
            stat = Path(f"/proc/{process.pid}/stat")
            assert eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")
            yield process
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there it needs no permission of the process")
async def test_one_that_did_not_allow_it_gets_no_signal():
    with sleeper(WAITS) as process:
        with pytest.raises(OperatingSystemError, match="does not allow inspection"):
            await inspect_process(process.pid, 10)


async def test_a_mark_alone_is_no_reason_for_a_signal():
    text = "import os, time; os.memfd_create('triosock-top'); print(flush=True); time.sleep(60)"
    with sleeper(text) as process:
        assert processes._mark_of(process.pid) is None


async def test_one_that_is_stopped_is_told_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "ANSWER_TIMEOUT", 0.2)
    with program(tmp_path, BY_RUN, WORK=1) as target:
        target.signal(signal.SIGSTOP)
        with pytest.raises(OperatingSystemError, match=r"has not answered SIGUSR1 within 0\.2 s"):
            await inspect_process(target.process.pid, 10)
        target.signal(signal.SIGCONT)
        monkeypatch.setattr(processes, "ANSWER_TIMEOUT", PATIENCE)
        assert (await inspect_process(target.process.pid, 10)).tree.children  # the late answer harmed nothing
        assert target.stop() == 0


@by_interpreter
async def test_one_whose_main_thread_never_comes_by_is_told_and_nothing_is_left(monkeypatch):
    monkeypatch.setattr(processes, "ANSWER_TIMEOUT", 0.3)
    with sleeper(WAITS) as process:
        with pytest.raises(OperatingSystemError, match=r"has not answered sys\.remote_exec within"):
            await inspect_process(process.pid, 10)


async def test_a_process_that_is_killed_meanwhile_is_said_to_have_ended(monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    @contextlib.asynccontextmanager
    async def request(pid, directory, *others):
        os.close(os.open(directory / peek.PIPE, os.O_WRONLY))
        process.kill()
        process.wait()
        yield "SIGUSR1"

    monkeypatch.setattr(processes, "_requested", request)
    with process, pytest.raises(ProcessEnded):
        await inspect_process(process.pid, 5)


async def test_no_process():
    with pytest.raises(ProcessEnded, match="there is no process 999999999"):
        await inspect_process(999_999_999, 10)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "__import__('os').abort()",
        "[" * 100_000,
        "{'kind': 'run'}",
        "{'error': 'ValueError: \\x1b[2J'}",
        repr(dict.fromkeys(peek.FIELDS, float("nan"))).replace("nan", "1e999"),
    ],
)
def test_an_answer_may_be_anything(tmp_path, text):
    path = tmp_path / "answer"
    path.write_text(text)
    with pytest.raises(OperatingSystemError) as refused:
        processes._read_tree(path)
    assert str(refused.value).isprintable()


# The side of the process


def test_to_allow_it_is_undone(capfd):
    with allow_top():
        assert callable(signal.getsignal(signal.SIGUSR1))
        os.kill(os.getpid(), signal.SIGUSR1)  # without a request: nothing happens
        with pytest.raises(RuntimeError, match="has a use for SIGUSR1 already"):
            with allow_top():
                pass
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert not any("memfd" in target for _, target in files(os.getpid()))
    assert capfd.readouterr() == ("", "")


def test_a_look_imports_nothing_and_switches_the_collector_on_again(tmp_path):
    import gc

    os.mkfifo(tmp_path / peek.PIPE)
    reader = os.open(tmp_path / peek.PIPE, os.O_RDONLY | os.O_NONBLOCK)
    try:
        modules = set(sys.modules)
        peek.answer(str(tmp_path), 10)
        assert set(sys.modules) == modules
        assert gc.isenabled()
        assert len(os.read(reader, 100).split()) == 2
    finally:
        os.close(reader)
    assert processes._read_tree(tmp_path / peek.ANSWER).name == f"process {os.getpid()}"


def test_a_look_whose_directory_has_gone_raises_nothing(tmp_path):
    peek.answer(str(tmp_path / "gone"), 10)


def test_a_look_at_what_can_neither_be_seen_nor_told_raises_nothing(tmp_path, monkeypatch):
    class Untold(Exception):
        def __str__(self):
            raise self

    def fail(limit):
        raise Untold

    monkeypatch.setattr(peek, "peek", fail)
    peek.answer(str(tmp_path), 10)
    assert "Untold" in (tmp_path / peek.ANSWER).read_text()
