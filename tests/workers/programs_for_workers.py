"""What workers run in these tests: ``tests.workers.programs_for_workers:shout`` and its sisters."""

from __future__ import annotations

import os
import signal
import time

import trio

import triosock


async def handle(conn: triosock.Connection) -> None:
    """Lines in capitals, and a few words that do something else."""
    async for line in conn.lines():
        match line.split():
            case [b"pid"]:
                await conn.send_all(b"%d\n" % os.getpid())
            case [b"number"]:
                await conn.send_all(os.environ["TRIOSOCK_WORKER"].encode() + b"\n")
            case [b"variables"]:
                await conn.send_all(" ".join(sorted(os.environ)).encode() + b"\n")
            case [b"wait"]:
                await conn.send_all(b"begun\n")
                await conn.receive_until(b"\n")
                await conn.send_all(b"waited\n")
            case [b"block"]:
                await conn.send_all(b"begun\n")
                time.sleep(600)
            case [b"die"]:
                os.kill(os.getpid(), signal.SIGKILL)
            case [b"grow"]:
                growth.append(b"x" * 200_000_000)
                await conn.send_all(b"grown\n")
            case _:
                await conn.send_all(line.upper())


growth: list[bytes] = []


async def shout(*, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
    await triosock.serve_listeners(handle, triosock.inherited_listeners(), task_status=task_status)


async def measured() -> None:
    """With metrics, as a user's program has them."""
    from triosock.observe.metrics import PrometheusObserver

    await triosock.serve_listeners(
        handle, triosock.inherited_listeners(), observers=[PrometheusObserver()], name="shout"
    )


async def not_when_told() -> None:
    """A deploy that is broken if the file says so: how is its text."""
    try:
        with open(os.environ["BROKEN"]) as file:
            how = file.read()
    except FileNotFoundError:
        how = ""
    if how == "import":
        import there_is_no_such_module  # type: ignore[import-not-found] # noqa: F401
    if how == "never":
        await trio.sleep_forever()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(triosock.serve_listeners, handle, triosock.inherited_listeners())
        if how == "after":
            await trio.sleep(0.1)
            os._exit(3)


async def echo_datagrams() -> None:
    async def reply(datagram: triosock.Datagram) -> None:
        await datagram.reply(os.environ["TRIOSOCK_WORKER"].encode() + b" " + datagram.data)

    await triosock.serve_datagram_sockets(reply, triosock.inherited_datagram_sockets())
