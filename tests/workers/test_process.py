"""One child process, by itself."""

from __future__ import annotations

import os
import sys

import trio

from triosock.workers.policy import Recycle, Supervision
from triosock.workers.process import Process
from triosock.workers.receiver import NotifyReceiver
from triosock.workers.worker import Settings, Worker

from .conftest import PATIENCE


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


WITHOUT_STANDARD_FILES = """
import os, socket, sys, trio
from triosock.workers.process import Process

CHILD = "import os, socket; address = socket.socket(fileno=3).getsockname(); line = os.read(4, 9); " \\
    "os.write(1, repr((line, address)).encode())"

async def main():
    os.close(0)
    os.close(2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert listener.fileno() == 0
        child = Process([sys.executable, "-c", CHILD], [("web", 0)], dict(os.environ))  # its lifeline is 2
        child.tell("drain")
        assert await child.wait() == 0
        assert not os.path.exists("/proc/self/fd/2")
        os.write(1, repr(listener.getsockname()).encode())

trio.run(main)
"""


async def test_a_socket_may_have_the_number_of_a_standard_file_that_was_closed() -> None:
    with trio.fail_after(PATIENCE):
        done = await trio.run_process([sys.executable, "-c", WITHOUT_STANDARD_FILES], capture_stdout=True)
    said = done.stdout.decode()
    assert said.startswith("(b'drain\\n', ('127.0.0.1', ")
    assert said.count(said.rpartition("(")[2]) == 2  # the child has the socket of its parent


async def test_ctrl_c_reaches_the_parent_alone_from_the_first_moment_of_a_child() -> None:
    child = Process([sys.executable, "-c", "import time; time.sleep(1_000)"], [], dict(os.environ))
    try:
        assert os.getpgid(child.id) == child.id
    finally:
        await child.end_at_once()


READY_AND_GONE = """
import os, socket
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
    sock.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
    sock.send(b"READY=1")
"""


async def test_a_worker_that_was_ready_and_ended_at_once_has_started() -> None:
    settings = Settings(
        command=[sys.executable, "-c", READY_AND_GONE],
        environment=dict(os.environ),
        supervision=Supervision(),
        recycle=Recycle(),
        grace=15.0,
        idle_grace=None,
    )
    with NotifyReceiver() as receiver:
        worker = Worker(1, 1, settings, receiver, [], lambda *_: None)
        # No task reads messages, as in a parent that has both the message and the end in one step.
        async with trio.open_nursery() as nursery:
            with trio.fail_after(PATIENCE):
                await nursery.start(worker.run)
    assert worker.ready.is_set()
    assert worker.describe_end() == "exited with 0"
