"""`run(async_fn)`: calls async code from a sync handler.

When the request is cut, the async function is cancelled, and `run()` itself raises `RequestCut`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

import trio

from ..bridge import trio_thread as hosts
from ..bridge.thread_interrupt import RequestCut
from ..requests import table
from .current_request import request_table_of_thread

if TYPE_CHECKING:
    from ..requests.ports import Host, RequestEntry
    from ..requests.table import RequestTable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run(async_fn: Callable[[*Ts], Awaitable[T]], *args: Unpack[Ts]) -> T:
    """Call async code from a sync handler: run `async_fn(*args)` in the trio run of its server, and return
    its result.

    At the request's deadline, at the end of a drain's grace period, or when the trio program that serves it
    is cancelled, the function is cancelled, and `RequestCut` is raised. Outside a request the function runs
    in the host of this process, without a deadline. Blocks the calling thread. An exception that a signal
    handler raises there cancels the function.

    Raises: what `async_fn` raises; RequestCut; RuntimeError in a trio thread, or if no trio run can be
    started.
    """
    green = table.port.parts.green_if_loaded()
    if green is not None and green.current() is not None:
        return green.wait(async_fn, *args)
    request_table = request_table_of_thread()
    entry = request_table.supervision.own_entry() if request_table is not None else None
    host = request_table.host if request_table is not None else None
    acquired = None
    if host is None:
        host = acquired = hosts.acquire_host()
    try:
        if request_table is None or entry is None:
            return host.run(trio.CancelScope(), async_fn, *args)
        return _run_for(request_table, entry, host, async_fn, *args)
    finally:
        if acquired is not None:
            hosts.release_host(acquired)


def _run_for(
    request_table: RequestTable,
    entry: RequestEntry,
    host: Host,
    async_fn: Callable[[*Ts], Awaitable[T]],
    *args: Unpack[Ts],
) -> T:
    scope = trio.CancelScope()
    with request_table.lock:
        entry.call = lambda: host.soon(scope.cancel, entry.reason())
    try:
        return host.run(scope, async_fn, *args)
    except hosts.Ended:
        raise RequestCut(entry.reason()) from None
    finally:
        with request_table.lock:
            entry.call = None
