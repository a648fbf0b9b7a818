"""Process 1: orphans are reaped, and its own children are not."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess

import pytest
import trio

from triosock.workers.reaper import reap_orphans

from .conftest import children, service, until

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def subreaper():
    """As process 1: orphans below this process become its children."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.mark.usefixtures("subreaper")
async def test_an_orphan_is_reaped_and_a_child_keeps_its_exit_code():
    before = children()
    own = subprocess.Popen(["sh", "-c", "sleep 0.2; exit 7"])
    parent = subprocess.Popen(["sh", "-c", "sh -c 'sleep 0.4; exit 3' & echo $!"], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    orphan = int(parent.stdout.read())
    assert parent.wait() == 0
    async with trio.open_nursery() as nursery:
        await nursery.start(reap_orphans, lambda process: process == own.pid)
        assert await trio.to_thread.run_sync(own.wait) == 7
        await until(lambda: not os.path.exists(f"/proc/{orphan}"))
        nursery.cancel_scope.cancel()
    parent.stdout.close()
    assert children() == before


@pytest.mark.usefixtures("subreaper")
async def test_a_guard_of_socket_files_that_is_killed_hides_no_orphan(tmp_path, caplog):
    async with service(endpoints=[f"unix://{tmp_path}/socket"], workers=1) as workers:
        guard = workers.endpoints.guard
        assert guard is not None
        async with trio.open_nursery() as nursery:
            await nursery.start(reap_orphans, workers.has_started)
            os.kill(guard.id, signal.SIGKILL)
            await until(lambda: not os.path.exists(f"/proc/{guard.id}"))
            assert not workers.has_started(guard.id)
            done = await trio.run_process(["sh", "-c", "sh -c 'exit 3' >&- & echo $!"], capture_stdout=True)
            await until(lambda: not os.path.exists(f"/proc/{int(done.stdout)}"))
            nursery.cancel_scope.cancel()
    assert "the process that guards the socket files was killed" in caplog.text
