"""Nothing outlives its brackets, processes included: a service is cancelled at every checkpoint."""

from __future__ import annotations

import sys
from functools import partial

import pytest
import trio

import triosock
from tests.servers import drained
from triosock.testing import cancel_at_every_checkpoint

#: As small as a worker can be, so that it starts in some 20 ms: ready, and gone at SIGTERM.
WORKER = """
import os, signal, socket
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1", "\\0" + os.environ["NOTIFY_SOCKET"][1:])
while True:
    signal.pause()
"""
COMMAND = [sys.executable, "-I", "-S", "-c", WORKER]


@pytest.mark.slow
async def test_a_cancellation_at_every_checkpoint_leaves_no_process_socket_or_file(tmp_path):
    path = tmp_path / "socket"

    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            serve = partial(
                triosock.serve_workers,
                COMMAND,
                {"web": f"unix://{path}", "dns": "udp://127.0.0.1:0"},
                workers=1,
                supervision=triosock.Supervision(settle=0.01),
                signals=False,
                control=tmp_path / "control",
            )
            workers = await nursery.start(serve)
            assert (await workers.restart()).replaced == 1
            await workers.set_count(2)
            await drained(workers)

    async def looked_at() -> None:
        try:
            await scenario()
        finally:
            assert not path.exists()
            assert not (tmp_path / "control").exists()

    assert await cancel_at_every_checkpoint(looked_at) > 30
