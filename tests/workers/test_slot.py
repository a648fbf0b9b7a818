"""The slot of one worker, by itself."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from triosock.workers.policy import Supervision
from triosock.workers.slot import Slot

from .conftest import PATIENCE, processes, service, until


class NeverReady:
    """A worker that starts for ever."""

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()


async def test_tasks_that_wait_for_a_slot_go_on_when_the_service_ends_first() -> None:
    make: Any = lambda number: NeverReady()  # noqa: E731
    slot = Slot(1, make, lambda worker: None, lambda: None, Supervision())
    results: list[str] = []
    scope = trio.CancelScope()

    async def keep() -> None:
        with scope:
            await slot.run()

    async def replace() -> None:
        results.append(await slot.replace())

    async def wait_ready() -> None:
        await slot.ready.wait()
        results.append("waited")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(replace)
        nursery.start_soon(wait_ready)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(results) == ["the slot is retired", "waited"]
        assert await slot.replace() == "the slot is retired"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ending", ["drain", "retire"])
async def test_a_client_of_a_worker_whose_ready_was_not_read_yet_is_answered(ending: str) -> None:
    async with service(workers=2, supervision=triosock.Supervision(backoff=0.01)) as workers:
        first, crashed = processes(workers)
        os.kill(crashed, signal.SIGKILL)
        await until(lambda: len({first, crashed, *processes(workers)} - {0}) == 3)
        os.kill(first, signal.SIGSTOP)  # so that the client gets to the second one
        try:
            address = workers.addresses[0]
            assert isinstance(address, triosock.TcpAddress)
            # Meanwhile the loop of the parent stands, and no message is read.
            with socket.create_connection((address.host, address.port), PATIENCE) as client:
                client.sendall(b"wait\n")
                assert client.recv(100) == b"begun\n"
                if ending == "drain":
                    workers.drain()
                else:
                    await workers.set_count(1)
                await trio.testing.wait_all_tasks_blocked()
                client.sendall(b"go on\n")
                assert await trio.to_thread.run_sync(client.recv, 100) == b"waited\n"
        finally:
            os.kill(first, signal.SIGCONT)
