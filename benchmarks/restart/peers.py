"""The same for uvicorn and gunicorn, with their own workers and their own reload on SIGHUP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from .services import Service

#: How each is started, and what it logs once for each new worker.
PEERS = {
    "uvicorn": (
        ["uvicorn", "benchmarks.restart.peers:asgi", "--port", "{port}", "--workers", "{workers}"],
        r"Application startup complete",
    ),
    "gunicorn": (
        [
            *("gunicorn", "benchmarks.restart.peers:wsgi", "--bind", "127.0.0.1:{port}"),
            *("--workers", "{workers}", "--worker-class", "gthread", "--threads", "16", "--keep-alive", "60"),
        ],
        r"Booting worker with pid",
    ),
}


async def asgi(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """Answer with the request's own target."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    target = scope["raw_path"]
    headers = [(b"content-length", str(len(target)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": target})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """Likewise."""
    target = environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Length", str(len(target)))])
    yield target


class Peer(Service):
    """One of the others; it has no lines, and is not followed by another."""

    ready: str
    workers: int

    async def restart(self) -> None:
        """Reload, and wait until all workers are new."""
        os.kill(self.process, signal.SIGHUP)
        for _ in range(self.workers):
            await self.wait_for(self.ready)

    async def upgrade(self) -> None:
        """There is no such thing; a reload instead."""
        await self.restart()


@asynccontextmanager
async def serving_peer(folder: Path, kind: str, name: str, port: int, workers: int) -> AsyncIterator[Peer]:
    """One of the others, ready."""
    words, ready = PEERS[kind]
    log = folder / f"{name}.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *(word.format(port=port, workers=workers) for word in words)],
            stdout=output,
            stderr=output,
        )
    peer = Peer(port, 0, log, process.pid)
    peer.ready, peer.workers = ready, workers
    try:
        for _ in range(workers):
            await peer.wait_for(ready)
        yield peer
    finally:
        process.terminate()
        process.wait()


def missing(kind: str) -> str:
    """Return why this one cannot be run, or nothing."""
    found = subprocess.run([sys.executable, "-m", kind, "--version"], capture_output=True, text=True)
    return "" if re.search(r"\d+\.\d+", found.stdout) else f"{kind} is not installed for {sys.executable}"
