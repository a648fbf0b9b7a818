"""Shared by all tests: helpers for real sockets on loopback."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import HealthCheck, settings

import triosock
from tests.pairs import memory_pair, pair
from tests.servers import running
from tests.tls import client_context, server_context

# A shell starts what runs in the background with SIGINT ignored, and nohup(1) ignores SIGHUP; all children
# inherit that: then no Ctrl-C or SIGHUP that a test sends would arrive. They begin as at a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples each time, so that `make test` means the same for everybody, and no deadline, which a busy
# machine misses; HYPOTHESIS_PROFILE=search tries new ones, and more of them.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("triosock", derandomize=True, max_examples=50, database=None, **_COMMON)
settings.register_profile("search", max_examples=1_000, print_blob=True, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "triosock"))


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Set the watchdog of a test again, which pytest stops when one fails: its fixtures can hang."""
    config = node.config
    if isinstance(node, pytest.Item):
        faulthandler.dump_traceback_later(
            float(config.getini("faulthandler_timeout")),
            file=config.stash[fault_handler_stderr_fd_key],
            exit=config.getini("faulthandler_exit_on_timeout"),
        )


@pytest.fixture
def serving() -> Any:
    """`async with serving(handler, **options) as server:` a TCP server on loopback, cancelled at the end."""

    def serve(handler: Any, **options: Any) -> Any:
        return running(triosock.serve_tcp, handler, 0, **{"host": "127.0.0.1", **options})

    return serve


async def _dial(server: triosock.StreamServer) -> trio.SocketStream:
    address = server.addresses[0]
    if isinstance(address, triosock.UnixAddress):
        return await trio.open_unix_socket(address.path)
    assert isinstance(address, triosock.TcpAddress)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    return await trio.open_tcp_stream(host, address.port)


@pytest.fixture
def dial() -> Any:
    """`await dial(server)`: a trio stream to its first address."""
    return _dial


@pytest.fixture
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For TLS: the server's, and the client's."""
    return server_context(), client_context()


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fails if descriptors are open afterwards that were not before."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    after = set(os.listdir("/proc/self/fd"))
    assert len(after) <= len(before), f"descriptors left open: {after - before}"


@pytest.fixture(params=[pair, memory_pair], ids=["socket", "memory"])
async def both(request):
    """Two connections that are each other's peer."""
    one, other = await request.param()
    async with one, other:
        yield one, other


@pytest.fixture
async def over_tcp():
    """The same, over TCP alone."""
    one, other = await pair()
    async with one, other:
        yield one, other
