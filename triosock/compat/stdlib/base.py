"""BaseServer: the loop, the hooks it calls, and where their errors go.

Rules of this file:

1. It follows the contract of the standard library's module, hook for hook: which one is called, in which
   order, in which thread, and which caller gets its exception. A bare `except` or a flag that is set again in
   a `finally` is observable, and real programs depend on it.
2. **Hooks run only in the thread that called** `serve_forever()` or `handle_request()`. Only the wait is
   elsewhere: `waiting/poll.py`.
3. `__is_shut_down.set()` is the last thing that `serve_forever()` does: a program that it wakes may count
   threads at once.
4. Programs replace names in the module that they import, `triosock.compat`; so these are looked up there, at
   the time of the call: `_public`.
"""

from __future__ import annotations

import math
import selectors
import sys
import threading
from threading import get_ident
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from ..requests import table
from ..requests.clock import now
from ..requests.signatures import ClientAddress, HandlerFactory, Request
from ..requests.table import ENTRY, LEFT, SLOT, STATE
from ..waiting import poll
from . import deferred_tls

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket as Socket

# The package, half-initialised at this moment; its names are read when they are needed (rule 4).
_public: ModuleType = sys.modules[__name__.rpartition(".stdlib.")[0]]

_Server = TypeVar("_Server", bound="BaseServer")

SELF_SHUTDOWN = (
    "shutdown() waits until serve_forever() has ended, and this is the thread that runs it: it would wait "
    "for ever. Call it from another thread: threading.Thread(target=server.shutdown).start()"
)


class BaseServer:
    """What all servers do: wait for a request, ask the hooks about it, have it processed.

    `server_address` is what the subclass makes of it; `RequestHandlerClass` is called with (request,
    client_address, server) for each request: a class, or any callable.

    Subclasses give `fileno()`, `get_request()` and, for `handle_request()`, `socket`.
    """

    timeout: float | None = None

    if TYPE_CHECKING:
        socket: Socket

        def get_request(self) -> tuple[Request, ClientAddress]:
            """Return the next request and the client's address."""
            raise NotImplementedError

        def fileno(self) -> int:
            """Return the descriptor that is waited for."""
            raise NotImplementedError

    def __init__(self, server_address: ClientAddress, RequestHandlerClass: HandlerFactory) -> None:
        self.server_address: ClientAddress = server_address
        self.RequestHandlerClass: HandlerFactory = RequestHandlerClass
        self.__is_shut_down = threading.Event()
        self.__shutdown_request = False
        table.check_policy(self)
        if table.is_green(self):
            table.port.parts.green().check(self)

    def server_activate(self) -> None:
        """Called by the constructor, after the socket has its address. Nothing here."""

    def serve_forever(self, poll_interval: float | None = 0.5) -> None:
        """Serve requests until `shutdown()`, in this thread.

        `service_actions()` runs after each request, and at least every `poll_interval` seconds (None: only
        after requests). Unlike the standard library's, an idle server does not wait for the interval to
        notice `shutdown()`.

        Raises what the hooks raise, other than an Exception from `process_request` and an OSError from
        `get_request`. It may be called again afterwards.
        """
        self.__is_shut_down.clear()
        try:
            with _public._serving(self, _public._ServerSelector(), _public) as waiting:
                while not self.__shutdown_request:
                    ready = waiting.wait(poll_interval)
                    # A connection that arrives together with the shutdown stays in the kernel's queue.
                    if self.__shutdown_request:
                        break  # type: ignore[unreachable]  # another thread or a hook sets it
                    if ready:
                        self._handle_request_noblock()
                    elif waiting.swept:
                        break
                    self.service_actions()
        finally:
            self.__shutdown_request = False
            self.__is_shut_down.set()

    def shutdown(self) -> None:
        """Stop `serve_forever()`, which runs in another thread, and wait until it has ended. An idle one ends
        at once.

        Raises RuntimeError in the thread that serves: the standard library's deadlocks there. As there, it
        waits for the next `serve_forever()` if none is running yet, and makes the next one return at once if
        one has already ended.
        """
        servings = poll.servings_of(self)
        if servings and all(serving.mine() for serving in servings):
            raise RuntimeError(SELF_SHUTDOWN)
        self.__shutdown_request = True
        # Looked up again after the flag is set, since a loop reads the flag after it can be found here: one
        # of the two sees the other. One flag stops one loop; so does one wake-up, if two threads serve.
        for serving in poll.servings_of(self)[:1]:
            serving.wake()
        if table.is_green(self):
            green = table.port.parts.green()
            if green.current() is not None:
                # The loop may need the trio run, in which this handler runs, in order to end.
                green.blocking(self.__is_shut_down.wait)
                return
        self.__is_shut_down.wait()

    def service_actions(self) -> None:
        """Called by the loop after each request and each interval. Nothing here."""

    def handle_request(self) -> object:
        """Wait for one request and handle it; after the timeout, if there is one, call `handle_timeout()` and
        return its result.

        The timeout is the smaller of `self.timeout` and the socket's own. It bounds the wait, not the
        handler. No thread but this one takes part.
        """
        timeout = self.socket.gettimeout()
        if timeout is None:
            timeout = self.timeout
        elif self.timeout is not None:
            timeout = min(timeout, self.timeout)
        clock = _public.time
        deadline = math.inf if timeout is None else clock() + timeout
        with _public._ServerSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            while not selector.select(timeout):
                # A wait that was interrupted by a signal goes on for the rest of its time.
                if timeout is not None:
                    timeout = deadline - clock()
                    if timeout < 0:
                        return self.handle_timeout()
            # An override may return a value.
            take_one: Callable[[], object] = self._handle_request_noblock
            return take_one()

    def _handle_request_noblock(self) -> None:
        """Pass one request, which has arrived, through the hooks."""
        try:
            request, client_address = self.get_request()
        except OSError as error:
            # The client has gone, a handshake has failed, or another thread has closed the listener: the loop
            # goes on.
            poll.note_accept_error(self, error)
            return
        if not self.verify_request(request, client_address):
            self.shutdown_request(request)
            return
        try:
            self.process_request(request, client_address)
        except Exception:
            # Inside the clause, so that handle_error() may use sys.exc_info() or a bare `raise`. A handshake
            # that was left to a thread which could not start is done before these hooks see the request.
            if deferred_tls.complete(request):
                self.handle_error(request, client_address)
                self.shutdown_request(request)
        except:
            self.shutdown_request(request)
            raise

    def handle_timeout(self) -> object:
        """Called by `handle_request()` when nothing came in time. Nothing here."""

    def verify_request(self, request: Request, client_address: ClientAddress) -> object:
        """Tell whether to process the request. True here."""
        return True

    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Process a request: here, in this thread, before anything else is accepted."""
        self.finish_request(request, client_address)
        self.shutdown_request(request)

    def server_close(self) -> None:
        """Give back what the server holds. Nothing here."""

    def finish_request(self, request: Request, client_address: ClientAddress) -> None:
        """Make the handler, which does all its work in its constructor.

        Inlined, since a call costs a percent of a short connection. A cut may come at any moment before the
        seal, also right before `leave()`. There is at most one for each request, so the second call of
        `leave()` completes, or the first one has.
        """
        ours, thread = self.__dict__.get(SLOT), get_ident()
        if ours is None or ours.is_special:
            ours = table.request_table_for(self, ours)
            if ours is None:
                self.RequestHandlerClass(request, client_address, self)
                return
            thread = ours.me()
        around = ours.live.get(thread)
        record = ours.live[thread] = [request, client_address, now(), None, None]
        try:
            try:
                if len(ours.live) > ours.peak:
                    ours.peak = len(ours.live)
                if ours.is_special or ours.host is not None:
                    ours.attend(record)
                self.RequestHandlerClass(request, client_address, self)
            except BaseException as error:
                ours.leave(record, around, error)
                raise
            if around is None:
                del ours.live[thread]  # before its entry is looked for: see `requests/table.py`, 3
            if record[ENTRY] is not None or around is not None or ours.is_special or ours.host is not None:
                ours.leave(record, around)
            else:
                record[STATE] = LEFT
                next(ours.leaves)
        except BaseException as error:
            ours.leave(record, around, error)
            raise

    def shutdown_request(self, request: Request) -> None:
        """End a request: `close_request()`."""
        self.close_request(request)

    def close_request(self, request: Request) -> None:
        """Clean up after a request. Nothing here."""

    def handle_error(self, request: Request, client_address: ClientAddress) -> None:
        """Print the exception being handled to sys.stderr; the server goes on."""
        import traceback  # a server without errors never needs it

        rule = "-" * 40
        print(rule, file=sys.stderr)
        print("Exception occurred during processing of request from", client_address, file=sys.stderr)
        traceback.print_exc()
        print(rule, file=sys.stderr)

    def __enter__(self: _Server) -> _Server:
        return self

    def __exit__(self, *args: object) -> None:
        self.server_close()


#: What is found on the stack of a thread that handles a request: see `control/current_request.py`.
FINISHING = BaseServer.finish_request.__code__
