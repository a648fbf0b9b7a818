"""A question to a worker, at its own control socket."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from .worker import Worker


@asynccontextmanager
async def asking(worker: Worker, request: Mapping[str, Any]) -> AsyncIterator[trio.socket.SocketType]:
    """Connect to a worker and ask; what it answers comes from the socket, in lines of JSON.

    The socket is closed at the end of the block. Raises: OSError if the worker does not listen.
    """
    with trio.socket.socket(socket.AF_UNIX) as sock:
        await sock.connect("\0" + worker.control)
        # One line of a few hundred bytes: the kernel takes all of it.
        await sock.send(json.dumps(request).encode() + b"\n")
        yield sock
