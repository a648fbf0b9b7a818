"""Sends a request to the control socket of one worker, and reads the answer."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from .worker import Worker

#: Seconds within which a worker must answer.
_TIMEOUT: Final = 2.0


@asynccontextmanager
async def open_request(
    worker: Worker, request: Mapping[str, object]
) -> AsyncIterator[trio.socket.SocketType]:
    """Connect to a worker and send `request`; yield the socket, from which the answers come as lines of JSON.

    The socket is closed at the end of the block. Raises: OSError if the worker does not listen.
    """
    with trio.socket.socket(socket.AF_UNIX) as sock:
        await sock.connect("\0" + worker.control)
        # The line has a few hundred bytes, which fit into the socket buffer: one send() takes all of them.
        await sock.send(json.dumps(request).encode() + b"\n")
        yield sock


async def ask(worker: Worker, request: Mapping[str, object]) -> dict[str, object]:
    """Return a worker's answer; without one, ``{"error": reason}``. Waits for `_TIMEOUT` seconds at most."""
    if not worker.control:
        return {"error": "it has no control socket"}
    answer = b""
    try:
        with trio.move_on_after(_TIMEOUT):
            async with open_request(worker, request) as sock:
                while not answer.endswith(b"\n") and (data := await sock.recv(1 << 20)):
                    answer += data
    except OSError as error:
        return {"error": str(error)}
    if not answer.endswith(b"\n"):
        return {"error": f"no answer within {_TIMEOUT:g} s"}
    try:
        decoded = json.loads(answer)
    except ValueError:
        decoded = None
    return decoded if isinstance(decoded, dict) else {"error": "its answer is no JSON object"}
