"""A service under test: `triosock serve --config` with workers, on ports of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

CONFIG = """\
workers = {workers}
grace = 20

[supervision]
settle = 0.1

[endpoints.http]
address = "tcp://127.0.0.1:{http}"
handler = "benchmarks.restart.servers:serve_http"
proxy = {proxy}
timeouts = {{ idle_grace = 2 }}

[endpoints.lines]
address = "tcp://127.0.0.1:{lines}"
handler = "benchmarks.restart.servers:serve_lines"
proxy = {proxy}
"""
PATIENCE = 60.0


@attrs.define(eq=False)
class Service:
    """One running service. `process` is its parent's id, which an upgrade changes."""

    http: int
    lines: int
    log: Path
    process: int
    _read: int = 0

    async def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the next match in the log, which is looked at again and again: a file tells nobody."""
        with trio.fail_after(PATIENCE):
            while True:
                text = self.log.read_text()
                if match := re.compile(pattern).search(text, self._read):
                    self._read = match.end()
                    return match
                await trio.sleep(0.02)

    async def restart(self) -> None:
        """Replace all workers. Raises: RuntimeError if that failed."""
        os.kill(self.process, signal.SIGHUP)
        match = await self.wait_for(r"restart: (.*)")
        if "stopped" in match[1]:
            raise RuntimeError(match[0])

    async def upgrade(self) -> None:
        """Replace parent and workers. Raises: RuntimeError if that failed."""
        os.kill(self.process, signal.SIGUSR2)
        match = await self.wait_for(r"process (\d+) has taken over|upgrade: .*goes on")
        if not match[1]:
            raise RuntimeError(match[0])
        self.process = int(match[1])

    def stop(self) -> None:
        """End it by its id."""
        os.kill(self.process, signal.SIGTERM)


@asynccontextmanager
async def serving(
    folder: Path, name: str, http: int, lines: int, *, workers: int, proxy: bool
) -> AsyncIterator[Service]:
    """A service that is ready; drained at the end, and its processes are gone."""
    config = folder / f"{name}.toml"
    config.write_text(CONFIG.format(workers=workers, http=http, lines=lines, proxy=str(proxy).lower()))
    log = folder / f"{name}.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "triosock", "serve", "--config", str(config)], stderr=output
        )
    service = Service(http, lines, log, process.pid)
    try:
        await service.wait_for(r"workers: \d+ workers on")
        yield service
    finally:
        with trio.CancelScope(shield=True):
            service.stop()
            # The pipe of its death is its id: a successor is nobody's child here.
            handle = os.pidfd_open(service.process) if service.process != process.pid else None
            if handle is None:
                await trio.to_thread.run_sync(process.wait)
            else:
                await trio.lowlevel.wait_readable(handle)
                os.close(handle)
                process.wait()
