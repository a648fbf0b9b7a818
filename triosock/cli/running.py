"""Serves a `ServiceConfig`: in this process, as the parent of workers, or as a worker.

The rules:

1. **A worker runs the command line of its parent**, and inherits the parent's sockets. So a restart reads the
   configuration and the code again, and only the addresses cannot change.
2. **The parent imports no handler**, since it runs while the code of handlers changes.
3. Errors in opening endpoints are reported before anything is served.
4. **SIGHUP reloads files**: a single process with TLS reloads its certificates; a parent restarts its workers
   one by one, and each loads them again. A single process without TLS keeps the default action of the signal,
   which ends it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias, final

import attrs
import trio

from .. import (
    CertificateRefused,
    Certificates,
    DrainReport,
    TcpAddress,
    UnixAddress,
    Workers,
    open_health,
    open_tcp_listeners,
    open_udp_sockets,
    open_unix_listener,
    serve_datagram_sockets,
    serve_listeners,
    serve_stdio,
    serve_workers,
)
from .._core.listeners.stdio import check_stdio
from .._core.listeners.systemd import inherited_of_one_kind
from .._core.model.addresses import host_to_bind
from ..workers.endpoints import INHERITED
from ..workers.reaper import reap_orphans
from .arguments import OperatingSystemError, UsageError, load_handler, load_tls
from .config import STDIO, EndpointConfig, ServiceConfig
from .observers import open_observers

#: An async function that serves one open endpoint.
_Serve: TypeAlias = Callable[..., Awaitable[DrainReport]]


def is_worker() -> bool:
    """Whether a parent has started this process as a worker."""
    return "TRIOSOCK_WORKER" in os.environ


def forget_other_worker() -> None:
    """Remove the number of another worker, which has started this program, from the environment."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):  # the sockets are not for this process, either
        os.environ.pop("TRIOSOCK_WORKER", None)


async def serve_in_workers(
    config: ServiceConfig,
    words: Sequence[str],
    *,
    task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Run the parent. Args: `words`, the command line after ``python -m triosock``, for the workers."""
    assert config.workers is not None
    serve = partial(
        serve_workers,
        [sys.executable, "-m", "triosock", *words],
        {one.name: str(one.where) for one in config.endpoints},
        modes={one.name: one.mode for one in config.endpoints if one.mode is not None},
        workers=config.workers,
        grace=15.0 if config.grace is None else config.grace,
        supervision=config.supervision,
        recycle=config.recycle,
        control=config.control,
        health=config.health,
        verbs=config.control_verbs,
    )
    if os.getpid() != 1:
        return await serve(task_status=task_status)
    return await _serve_as_process_1(serve, task_status)


async def _serve_as_process_1(serve: _Serve, task_status: trio.TaskStatus[object]) -> DrainReport:
    """Serve, and reap the orphans of the container. The service has started all children of this process
    itself.
    """
    reaping = trio.CancelScope()

    class Started:
        def started(self, workers: Workers) -> None:
            # Not earlier: the process ids of the workers are known from here on.
            trio.lowlevel.spawn_system_task(_reap, workers, reaping)
            task_status.started(workers)

    try:
        return await serve(task_status=Started())
    finally:
        reaping.cancel(reason="triosock: the service has ended")


async def _reap(workers: Workers, reaping: trio.CancelScope) -> None:
    with reaping:
        await reap_orphans(workers.has_started)


@final
@attrs.frozen
class Prepared:
    """An endpoint whose handler and certificates are loaded, and whose address is not open yet."""

    name: str
    serve: _Serve
    certificates: Certificates | None


def prepare(config: ServiceConfig) -> list[Prepared]:
    """Import the handlers and load the certificates. Raises: UsageError, OperatingSystemError."""
    return [_prepare(one) for one in config.endpoints]


def _prepare(endpoint: EndpointConfig) -> Prepared:
    options: dict[str, Any] = {"limits": endpoint.limits, "timeouts": endpoint.timeouts}
    tls = load_tls(endpoint.tls)
    handler: Any = load_handler(endpoint.handler, endpoint.handler_key)
    if endpoint.tls is not None and endpoint.tls.handlers:
        keys = endpoint.tls.handler_keys
        handlers = {one: load_handler(word, keys[one]) for one, word in endpoint.tls.handlers.items()}
        handler = {**handlers, None: handler}

    async def serve(sockets: Sequence[Any], **how: Any) -> DrainReport:
        if not sockets:
            return await serve_stdio(handler, **options, tls=tls, proxy=endpoint.proxy, **how)
        if _is_datagram(sockets[0]):
            more = {**options, "sessions": endpoint.sessions, **how}
            return await serve_datagram_sockets(handler, sockets, **more)
        more = {**options, "tls": tls, "proxy": endpoint.proxy, **how}
        return await serve_listeners(handler, sockets, **more)

    return Prepared(endpoint.name, serve, tls)


def _check_kind(endpoint: EndpointConfig, sock: object) -> None:
    """Raise UsageError if an inherited socket is of the wrong kind for the configuration."""
    try:
        endpoint.check_kind(is_datagram=_is_datagram(sock))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _is_datagram(sock: object) -> bool:
    kernels = getattr(sock, "socket", sock)
    return isinstance(kernels, socket.socket) and kernels.type == socket.SOCK_DGRAM


async def serve_here(
    config: ServiceConfig,
    endpoints: Sequence[Prepared],
    *,
    task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Open all endpoints, or take the inherited ones, and serve each until drained."""
    async with contextlib.AsyncExitStack() as resources:
        if config.health is not None and not is_worker():
            # Opened first and closed last, so that it answers 503 until all endpoints are open.
            await resources.enter_async_context(open_health(config.health))
        observers = await open_observers(config.observe, resources)
        opened = []
        for endpoint in config.endpoints:
            sockets = await _open(endpoint)
            opened.append(sockets)
            for sock in sockets:
                resources.callback(sock.close)
            if sockets:
                _check_kind(endpoint, sockets[0])
        async with trio.open_nursery() as outer:
            if not is_worker() and any(one.certificates is not None for one in endpoints):
                await outer.start(_reload_on_hangup, endpoints)
            async with trio.open_nursery() as nursery:
                for one, sockets in zip(endpoints, opened, strict=True):
                    await nursery.start(partial(one.serve, sockets, observers=observers))
                task_status.started()
            outer.cancel_scope.cancel(reason="triosock: every endpoint has ended")


async def _reload_on_hangup(
    endpoints: Sequence[Prepared], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as arriving:
        task_status.started()
        async for _ in arriving:
            for one in endpoints:
                if one.certificates is not None:
                    await _reload(one.name, one.certificates)


async def _reload(name: str, certificates: Certificates) -> None:
    """Reload the certificates, and log the result: a malformed file must not end the service."""
    log = logging.getLogger("triosock")
    try:
        await trio.to_thread.run_sync(certificates.reload)
    except CertificateRefused as error:
        log.error("%s: new certificates refused, the old ones stay in use: %s", name, error)
    else:
        names = ", ".join(name for one in certificates.loaded for name in one.names)
        log.info("%s: certificates loaded for %s", name, names)


async def _open(endpoint: EndpointConfig) -> Sequence[Any]:
    where = endpoint.where
    if is_worker():
        return inherited_of_one_kind(endpoint.name)
    if where == STDIO:
        _check_stdio()
        return []
    if isinstance(where, str):
        return inherited_of_one_kind(where.removeprefix(INHERITED))
    if isinstance(where, UnixAddress):
        return [open_unix_listener(where.path, mode=endpoint.mode)]
    if isinstance(where, TcpAddress):
        return await open_tcp_listeners(where.port, host=host_to_bind(where))
    return await open_udp_sockets(where.port, host=host_to_bind(where))


def _check_stdio() -> None:
    """Raise OperatingSystemError here, and not in a nursery, if there is no connection to serve."""
    try:
        check_stdio()
    except ValueError as error:
        raise OperatingSystemError(str(error)) from None
