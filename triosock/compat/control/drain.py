"""`drain(server)`: stops accepting, lets requests finish, returns a report.

A server has one drain at a time. A second call tightens it, and returns the same report. It may be made in a
signal handler that interrupts the thread of the first call, so the drain ends in the trio thread.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from triosock import DrainReport, DrainScope
from triosock._core.model.checks import check_seconds

from ..bridge import trio_thread as hosts
from ..requests.table import RequestTable, request_table_of
from ..stdlib.base import BaseServer
from ..waiting import poll
from .drain_target import DrainTarget, scope_for
from .server_argument import check_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..requests.ports import Host, ServedInTrio

#: What the errors advise.
_IN_A_THREAD = "threading.Thread(target=compat.drain, args=(server,)).start()"


def drain(server: BaseServer, *, grace: float | None = None) -> DrainReport:
    """Stop accepting, let the requests in progress finish, and return the `DrainReport`.

    The connections in the kernel's queue are served, and the listener is closed. Idle keep-alive connections
    end at once: their handlers see the end of the stream. Busy requests finish; those that still run after
    `grace` seconds get `RequestCut`. A handler that is blocked outside its socket is described in the report
    and not waited for. `serve_forever()` returns; call `server_close()` afterwards, as after `shutdown()`.

    Args: `grace` in seconds from 0 on, inf for no end; None for the policy's, or 15 s. A second call during a
    drain can only tighten it, and returns the same report.

    Blocks the calling thread. Called in a handler's own thread, it does not wait for that handler, whose next
    idle wait ends.

    Raises: TypeError, ValueError for a wrong `grace`; RuntimeError in the serving thread, in a trio thread,
    and in a signal handler that interrupts another call for this server before its drain has begun, or while
    it reads or changes the counts.
    """
    check_server(server, "drain")
    servings = poll.servings_of(server)
    if any(serving.is_own_thread() for serving in servings):
        raise RuntimeError(
            "drain() waits until serve_forever() has ended, and this is the thread that runs it: call it "
            f"from another thread; in a signal handler, {_IN_A_THREAD}"
        )
    request_table = request_table_of(server)
    _check_lock(request_table)
    if request_table.served is not None:
        return _drain_in_trio_program(request_table.served, request_table, grace)
    running = Running(scope_for(request_table, grace))
    with request_table.lock:
        other, request_table.drain = request_table.drain, request_table.drain or running
    if other is not None:
        other.tighten(grace)
        return other.wait()
    return _drain_now(server, request_table, running, loops=bool(servings))


def _check_lock(request_table: RequestTable) -> None:
    # The trio thread needs this lock. `Condition` uses the same method of an RLock, which has no public one.
    lock: Any = request_table.lock
    if lock._is_owned():
        raise RuntimeError(
            "drain() was called in a signal handler that interrupted a call which counts its requests: "
            f"call it from another thread, {_IN_A_THREAD}"
        )


def _drain_now(
    server: BaseServer, request_table: RequestTable, running: Running, *, loops: bool
) -> DrainReport:
    own = threading.get_ident() if threading.get_ident() in request_table.live else None
    try:
        with _host_of(request_table) as host:
            if not loops:
                poll.close_listener(server)
            return host.run(trio.CancelScope(), _drain, server, request_table, running, host, own)
    except BaseException as error:
        if request_table.drain is running:
            request_table.drain = None
        running.fail(error)
        raise


@contextmanager
def _host_of(request_table: RequestTable) -> Iterator[Host]:
    """Yield the trio run that supervises a request table, or the host of this process, which exists at least
    as long as the block.
    """
    request_table.hold()
    try:
        host = request_table.host
        if host is not None:
            yield host
            return
        host = hosts.acquire_host()
        try:
            yield host
        finally:
            request_table.supervision.end(host)
            hosts.release_host(host)
    finally:
        request_table.release()


def _drain_in_trio_program(
    served: ServedInTrio, request_table: RequestTable, grace: float | None
) -> DrainReport:
    """Have the trio program that serves a server drain it; wait for the report."""
    host = request_table.host
    if host is None or threading.get_ident() in request_table.live:
        raise RuntimeError(
            "drain() waits until nothing of the server is left, and this thread serves one of its requests: "
            "call it from another thread, or drain() of what `nursery.start(compat.serve, ...)` returned"
        )
    host.soon(lambda: served.drain(grace=grace))
    return host.run(trio.CancelScope(), served.wait_closed)


async def _drain(
    server: BaseServer, request_table: RequestTable, running: Running, host: Host, own: int | None
) -> DrainReport:
    if request_table.host is not host:
        request_table.supervision.begin(host)
    target = DrainTarget(server, request_table, running.scope, own)
    with running.scope:
        running.begin(host, target)
        report = await target.drain()
    # In the trio thread, so that a second call can return while it interrupts the first one's thread (in a
    # signal handler). In this order: the callers that `finish()` wakes may serve again.
    request_table.drain = None
    running.finish(report)
    return report


class Running:
    """A drain in progress, which later calls of `drain()` find."""

    def __init__(self, scope: DrainScope) -> None:
        self.scope = scope
        #: Whether it goes on without the thread that called `drain()`.
        self.has_begun: bool = False
        self._thread = threading.get_ident()
        self._host: Host | None = None
        self._done = threading.Event()
        self._tightest: float | None = None
        self._report: DrainReport | None = None
        self._error: BaseException | None = None

    def begin(self, host: Host, target: DrainTarget) -> None:
        """Connect the scope with the drain, so that it can be tightened. In the trio thread."""
        self._host = host
        self.has_begun = True
        self.scope.on_drain = target.tighten
        self.scope.drain(grace=self._tightest)

    def tighten(self, grace: float | None) -> None:
        """Shorten the drain. From any thread."""
        if grace is None:
            return
        check_seconds(grace, "grace", zero=True)
        self._tightest = grace if self._tightest is None else min(grace, self._tightest)
        if self._host is not None:
            self._host.soon(lambda: self.scope.drain(grace=grace))

    def finish(self, report: DrainReport) -> None:
        """Give the report to the waiting callers."""
        self._report = report
        self._done.set()

    def fail(self, error: BaseException) -> None:
        """Raise the error in the waiting callers."""
        self._error = error
        self._done.set()

    def wait(self) -> DrainReport:
        """Wait for the report. Blocks.

        Raises: RuntimeError if the drain failed, or if this thread is yet to begin it.
        """
        if not self.has_begun and self._thread == threading.get_ident():
            raise RuntimeError(
                "drain() was called in a signal handler that interrupted another drain() of this server, "
                f"which has not begun: call it from another thread, {_IN_A_THREAD}"
            )
        self._done.wait()
        if self._report is None:
            raise RuntimeError("the drain that was going on failed") from self._error
        return self._report
