"""A drain of ten thousand connections: the idle half ends, the busy half is answered."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import triosock

COUNT = 10_000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def enough_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = COUNT + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"needs {wanted} descriptors, and only {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the crowd uses epoll")
async def test_of_ten_thousand_every_busy_client_is_answered_and_none_is_reset(enough_descriptors, serving):
    release, all_busy = trio.Event(), trio.Event()
    busy = 0

    async def handler(conn):
        nonlocal busy
        async for line in conn.lines():
            if line == b"busy\n":
                busy += 1
                if busy == COUNT // 2:
                    all_busy.set()
                await release.wait()
            await conn.send_all(line.upper())

    async with serving(handler, limits=triosock.Limits(max_connections=COUNT)) as server:
        command = [sys.executable, "-m", "tests.crowd", str(server.addresses[0].port), str(COUNT)]
        crowd = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert crowd.stdout is not None
            assert await trio.to_thread.run_sync(crowd.stdout.readline) == "ready\n"
            await all_busy.wait()
            assert server.statistics().active == COUNT
            server.drain(grace=100)
            while server.statistics().active > COUNT // 2:
                await server._registry.wait_departure()
            release.set()
            report = await server.wait_closed()
            ends = json.loads(await trio.to_thread.run_sync(crowd.stdout.read))
        finally:
            crowd.kill()
            crowd.communicate()
    assert ends == {"answered": COUNT // 2, "ended": COUNT // 2}
    assert (report.finished, report.failed, report.cancelled, report.refused) == (COUNT, 0, 0, 0)
    assert report.clean
