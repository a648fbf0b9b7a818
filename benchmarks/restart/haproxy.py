"""HAProxy in front: connections to the servers are always reused, there are no retries, and each connection
begins with a PROXY protocol header.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from .services import Service

CONFIG = """\
global
    log stderr format raw local0 notice
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    retries 0
    option redispatch 0
frontend http
    mode http
    bind 127.0.0.1:{http}
    default_backend http
backend http
    mode http
    http-reuse always
{http_servers}
{lines}
"""
LINES = """\
frontend lines
    mode tcp
    bind 127.0.0.1:{lines}
    default_backend lines
backend lines
    mode tcp
{lines_servers}
"""


def is_installed() -> bool:
    """Whether there is one."""
    return find() is not None


def find() -> str | None:
    """Return its path."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


@asynccontextmanager
async def proxying(
    folder: Path, http: int, lines: int, services: Sequence[Service], *, header: bool = True
) -> AsyncIterator[None]:
    """HAProxy runs, and is gone at the end. `header`: the PROXY protocol, and lines; others have neither."""
    config = folder / "haproxy.cfg"
    more = " send-proxy-v2" if header else ""
    http_servers, lines_servers = (
        "\n".join(f"    server s{index} 127.0.0.1:{there}{more}" for index, there in enumerate(ports))
        for ports in ([one.http for one in services], [one.lines for one in services])
    )
    lines_part = LINES.format(lines=lines, lines_servers=lines_servers) if header else ""
    config.write_text(CONFIG.format(http=http, http_servers=http_servers, lines=lines_part))
    program = find()
    assert program is not None
    process = await trio.lowlevel.open_process([program, "-db", "-f", str(config)])
    try:
        await _listening(http, process)
        yield
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _listening(port: int, process: trio.Process) -> None:
    with trio.fail_after(30):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                if process.returncode is not None:
                    raise RuntimeError("haproxy has ended") from None
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return
