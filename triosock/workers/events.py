"""One stream of the events of all workers, each with its worker's number, and of the starts and ends of
workers.

Rule: the events of a worker that starts while the stream is read are in it from when that worker is ready;
its earlier events are not.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

import trio

from .._core.stream.connection import Connection
from ..observe.control import send_stream
from ..observe.event_stream import FOLLOWS, EventStream, note
from ..observe.text import printable
from .control_client import open_request
from .worker import Worker

if TYPE_CHECKING:
    from .service import Workers


async def stream_events(workers: Workers, conn: Connection, kinds: Collection[str] | None) -> None:
    """Send the events of all workers, including those that start meanwhile, until the reader disconnects."""
    stream = EventStream()
    stream.put(note(FOLLOWS))
    async with trio.open_nursery() as nursery:

        def follow(worker: Worker) -> None:
            nursery.start_soon(_follow, worker, stream, kinds)

        with workers.followed_by(follow):
            await send_stream(conn, stream)
        nursery.cancel_scope.cancel(reason="triosock: the reader of events has disconnected")


async def _follow(worker: Worker, stream: EventStream, kinds: Collection[str] | None) -> None:
    await worker.wait_ready_or_ended()
    if worker.ready.is_set():
        await _pass_on(worker, stream, kinds)
    await worker.ended.wait()
    stream.put(note("WorkerEnded", how=worker.describe_end(), **_whose(worker)))


def _whose(worker: Worker) -> dict[str, object]:
    return {"worker": worker.number, "process": worker.id}


async def _pass_on(worker: Worker, stream: EventStream, kinds: Collection[str] | None) -> None:
    """Request the events of a worker, and forward them until it closes the connection."""
    request: dict[str, object] = {"want": "events"}
    if kinds is not None:
        request["kinds"] = list(kinds)
    pending = b""
    try:
        async with open_request(worker, request) as sock:
            while data := await sock.recv(1 << 16):
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    fields = _parse(line)
                    if fields["event"] == FOLLOWS:
                        fields = {"event": "WorkerReady", "process": worker.id, "time": fields["time"]}
                    stream.put({"worker": worker.number, **fields})
    except (OSError, ValueError) as error:
        stream.put(note("WorkerSilent", error=str(error), **_whose(worker)))


def _parse(line: bytes) -> dict[str, object]:
    """Return the fields of an event. Raises: ValueError if a line has none: a worker that was replaced may
    have other code than this process.
    """
    fields = json.loads(line)
    if not isinstance(fields, dict) or "event" not in fields:
        raise ValueError(f"no event, but {printable(fields)}")
    return fields
