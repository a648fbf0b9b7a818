"""What a compat server may have beyond the standard library's: deadlines, a bound on threads, a drain.

Rules of this file: everything is asked for, by the class attribute `trio_policy` or by calling a function
with the server; a server gets no new names, as people give theirs every name that there is.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, final

import attrs
import trio

from triosock import DrainReport, DrainScope, Observer, ProxyPolicy, ServerStatistics
from triosock._core.model.config import check_count, check_seconds
from triosock._core.protocols.proxy_parser import check_proxy

from .. import loading
from ..bridge import trio_thread as hosts
from ..bridge.interrupt import RequestCut, is_idle
from ..requests.table import ENTRY, REQUEST, book_of
from ..stdlib.base import BaseServer
from ..waiting import poll
from .current_request import book_of_thread
from .drain import Ending, scope_for

if TYPE_CHECKING:
    from ..bridge.request_entry import Request
    from ..requests.table import Book
    from .serve import CompatServer

T = TypeVar("T")


def _seconds(instance: object, attribute: attrs.Attribute[float], value: object) -> None:
    check_seconds(value, attribute.name, zero=attribute.name == "grace")


def _count(instance: object, attribute: attrs.Attribute[float], value: object) -> None:
    check_count(value, attribute.name)


@final
@attrs.frozen(kw_only=True)
class Policy:
    """What a server class asks for with `trio_policy = Policy(...)`. Without it nothing of this happens.

    `request_timeout`
        Seconds from the accept to the end of the handler; then it is cut: `RequestCut` is raised in its
        thread. No limit by default, like the standard library.
    `max_requests`
        Requests handled at once; the next ones wait in the kernel's queue. No limit by default.
    `grace`
        Seconds that a drain gives to requests in progress. 15 s is `Timeouts.grace`. 0 cuts at once.
    `observers`
        Who is told what happens: the same events as a native server's, given in the trio thread.
    `mode`
        "own": what the class is, a thread, a process or neither per request. "green": a trio task in the
        place of each thread of a `ThreadingMixIn`; needs the extra `green`.
    `proxy`
        Expect a PROXY protocol header first, in a green server of streams: True for the default
        `ProxyPolicy`, or one of your own. It is read in the request's task, before TLS, for at most 10 s; the
        handler's `client_address` is the client's then. `verify_request()` and `process_request()` still see
        the proxy's. Who sends no header, or a bad one, is dropped without a hook.
    `blocking_after`
        Seconds that a green handler may run without a wait, while `serve_forever()` runs. Who takes longer
        blocks all the others, and is named on standard error with its stack, once for each place. inf for
        never. A second is more than a busy machine takes away from a process, and less than people wait.
    """

    request_timeout: float = attrs.field(default=math.inf, validator=_seconds)
    max_requests: float = attrs.field(default=math.inf, validator=_count)
    grace: float = attrs.field(default=15.0, validator=_seconds)
    observers: tuple[Observer, ...] = attrs.field(default=(), converter=tuple)
    mode: Literal["own", "green"] = attrs.field(
        default="own", validator=attrs.validators.in_(("own", "green"))
    )
    proxy: ProxyPolicy | None = attrs.field(default=None, converter=check_proxy)
    blocking_after: float = attrs.field(default=1.0, validator=_seconds)

    def __attrs_post_init__(self) -> None:
        if self.mode == "green":
            # With the class, and not with its servers; whether they can be is said when one is made.
            with suppress(RuntimeError):
                loading.green("check")

    @property
    def needs_oversight(self) -> bool:
        """Whether somebody must look after the requests while they run."""
        return self.request_timeout != math.inf or bool(self.observers)


def drain(server: BaseServer, *, grace: float | None = None) -> DrainReport:
    """Stop accepting, let the requests in progress finish, and return how that went.

    What the kernel has accepted already is served, and the listener closed; idle keep-alive connections end
    at once, as if by the client; busy requests finish; those still there after `grace` seconds get
    `RequestCut`. A handler that is stuck outside its socket is described in the report, and left.
    `serve_forever()` returns; `server_close()` stays to be called, as after `shutdown()`.

    Args: `grace` in seconds from 0 on, inf for no end; None for the policy's, or 15 s. A second call during a
    drain can only tighten it, and returns the same report.

    Blocks the calling thread, which may be any but the one that serves and a trio thread: RuntimeError there.
    In a handler's own thread it does not wait for that handler.
    """
    servings = poll.servings_of(server)
    if any(serving.mine() for serving in servings):
        raise RuntimeError(
            "drain() waits until serve_forever() has ended, and this is the thread that runs it: call it "
            "from another thread"
        )
    book = book_of(server)
    if book.served is not None:
        return _tell(book.served, book, grace)
    with book.lock:
        first = book.drain is None
        if first:
            book.drain = Drain(scope_for(book, grace))
        running = book.drain
    assert running is not None
    if not first:
        running.tighten(grace)
        return running.wait()
    own = threading.get_ident() if threading.get_ident() in book.live else None
    if not servings:
        poll.close_listener(server)
    book.hold()  # whoever supervises it now does so until the end
    host = book.host
    borrowed = None if host is not None else hosts.borrow()
    host = host or borrowed
    assert host is not None
    try:
        return running.finish(host.run(trio.CancelScope(), _drain, server, book, running, host, own))
    except BaseException as error:
        running.fail(error)
        raise
    finally:
        book.drain = None
        if borrowed is not None:
            book.supervision.end(borrowed)
            hosts.give_back(borrowed)
        book.release()


def _tell(served: CompatServer, book: Book, grace: float | None) -> DrainReport:
    """Drain a server that runs in a trio program: it does so itself."""
    host = book.host
    if host is None or threading.get_ident() in book.live:
        raise RuntimeError(
            "drain() waits until nothing of the server is left, and this thread serves one of its requests: "
            "call it from another thread, or drain() of what `nursery.start(compat.serve, ...)` returned"
        )
    host.soon(lambda: served.drain(grace=grace))
    return host.run(trio.CancelScope(), served.wait_closed)


async def _drain(
    server: BaseServer, book: Book, running: Drain, host: hosts.Host, own: int | None
) -> DrainReport:
    if book.host is not host:
        book.supervision.begin(host)
    ending = Ending(server, book, running.scope, own)
    with running.scope:
        running.begin(host, ending)
        return await ending.see_out()


class Drain:
    """A drain that is going on, for those who ask for another."""

    def __init__(self, scope: DrainScope) -> None:
        self.scope = scope
        self._host: hosts.Host | None = None
        self._done = threading.Event()
        self._tightest: float | None = None
        self._report: DrainReport | None = None
        self._error: BaseException | None = None

    def begin(self, host: hosts.Host, ending: Ending) -> None:
        """In the trio thread: the scope is told, and tells the farewell when it is tightened."""
        self._host = host
        self.scope._on_drain = lambda: ending.farewell.tighten() if ending.farewell is not None else None
        self.scope.drain(grace=self._tightest)

    def tighten(self, grace: float | None) -> None:
        """From any thread: have the drain end sooner."""
        if grace is None:
            return
        check_seconds(grace, "grace", zero=True)
        self._tightest = grace if self._tightest is None else min(grace, self._tightest)
        if self._host is not None:
            self._host.soon(lambda: self.scope.drain(grace=grace))

    def finish(self, report: DrainReport) -> DrainReport:
        """Let those who wait have the report."""
        self._report = report
        self._done.set()
        return report

    def fail(self, error: BaseException) -> None:
        """Let those who wait have the error."""
        self._error = error
        self._done.set()

    def wait(self) -> DrainReport:
        """Wait for the report. Blocks."""
        self._done.wait()
        if self._report is None:
            raise RuntimeError("the drain that was going on failed") from self._error
        return self._report


def statistics(server: BaseServer) -> ServerStatistics:
    """Return a frozen snapshot of a server, from any thread: the same as a native server's.

    `received` and `sent` are bytes of TCP connections that have ended, and are counted only for observers.
    """
    book = book_of(server)
    tally = book.tally()
    with book.lock:
        live = tuple(book.live.values())
        ended, refused = dict(tally.ended), dict(tally.refused)
    requests = [record[REQUEST] for record in live]
    return ServerStatistics(
        active=len(requests),
        idle=sum(map(is_idle, requests)),
        queued=0,
        peak=tally.peak,
        accepted=tally.accepted + sum(record[ENTRY] is None for record in live),
        ended=ended,
        refused=refused,
        accept_errors=tally.accept_errors,
        received=tally.received,
        sent=tally.sent,
        suspended=False,
        draining=book.drain is not None,
    )


def run(async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Call async code from a sync handler: run `async_fn(*args)` in the trio run of its server, and return
    its result.

    When the request's deadline is over, a drain's grace, or the trio program around is cancelled, the call is
    cancelled and `RequestCut` raised. Outside a request it runs in this process's host, without a deadline.

    Raises: what `async_fn` raises; RuntimeError in a trio thread.
    """
    greens = sys.modules.get("triosock.compat.green.tasks")
    if greens is not None and greens.current() is not None:
        return cast("T", greens.wait(async_fn, *args))
    book = book_of_thread()
    entry = book.supervision.own_entry() if book is not None else None
    host = book.host if book is not None else None
    borrowed = None
    if host is None:
        host = borrowed = hosts.borrow()
    try:
        if entry is None:
            return host.run(trio.CancelScope(), async_fn, *args)
        return _run_for(entry, host, async_fn, *args)
    finally:
        if borrowed is not None:
            hosts.give_back(borrowed)


def _run_for(entry: Request, host: hosts.Host, async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
    scope = trio.CancelScope()
    with entry.book.lock:
        entry.call = lambda: host.soon(scope.cancel, entry.reason())
    try:
        return host.run(scope, async_fn, *args)
    except hosts.Ended:
        raise RequestCut(entry.reason()) from None
    finally:
        with entry.book.lock:
            entry.call = None
