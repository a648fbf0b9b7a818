"""What type checkers say about workers; see serving.py."""

from __future__ import annotations

from typing import assert_type

import trio

import triosock
from triosock import DrainReport, Recycle, RestartReport, Supervision, Workers, WorkerStatus
from triosock.notify import Notifier, current_notifier


async def serving() -> None:
    report = await triosock.serve_workers("shop:main", ["tcp://*:9999"], workers=2)
    assert_type(report, DrainReport)
    await triosock.serve_workers(
        ["shop", "--serve"], {"web": "fd://web"}, workers="auto", recycle=Recycle(age=60)
    )
    await triosock.serve_workers("shop:main", [], supervision=Supervision(ready=5), modes={"web": 0o600})
    await triosock.serve_workers("shop:main", [], workers="many")  # type: ignore[arg-type]
    await triosock.serve_workers("shop:main")  # type: ignore[call-arg]


async def starting(nursery: trio.Nursery) -> None:
    workers: Workers = await nursery.start(triosock.serve_workers, "shop:main", ["tcp://*:9999"])
    assert_type(workers.statistics(), tuple[WorkerStatus, ...])
    assert_type(await workers.restart(), RestartReport)
    assert_type(workers.addresses, tuple[triosock.Address, ...])
    workers.drain(grace=3)
    await workers.set_count(3)
    await workers.upgrade()
    assert_type(await workers.wait_closed(), DrainReport)


async def notifying() -> None:
    notifier = current_notifier()
    assert_type(notifier, Notifier | None)
    if notifier is not None:
        await notifier.status("ready")
        assert_type(notifier.send_nowait(STATUS="ready"), bool)
