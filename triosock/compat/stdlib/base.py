"""BaseServer: the loop, the hooks that it calls, and the handling of their errors.

Rules of this file:

1. It follows the contract of the standard library's module, hook for hook: which hook is called, in which
   order, in which thread, and which caller gets its exception. A bare `except`, or a flag that a `finally`
   resets, is observable, and programs depend on it.
2. **Hooks run only in the thread that called** `serve_forever()` or `handle_request()`. Only the wait may be
   in another thread: `waiting/poll.py`.
3. `__is_shut_down.set()` is the last action of `serve_forever()`: a program that it wakes may count threads.
4. Programs replace names in the module that they import, `triosock.compat`; so these are looked up there at
   the time of the call (`_public`).
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
from ..waiting import own_loop, poll
from . import deferred_tls

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket as Socket

# The package, which is being imported now; its names are read at the time of a call (rule 4).
_public: ModuleType = sys.modules[__name__.rpartition(".stdlib.")[0]]

_Server = TypeVar("_Server", bound="BaseServer")

SELF_SHUTDOWN = (
    "shutdown() waits until serve_forever() has ended, and this is the thread that runs it: it would wait "
    "for ever. Call it from another thread: threading.Thread(target=server.shutdown).start()"
)


class BaseServer:
    """The part that all servers share: waits for a request, verifies it, processes it.

    The subclass defines the meaning of `server_address`. `RequestHandlerClass`, a class or any callable, is
    called with (request, client_address, server) for each request.

    Subclasses define `fileno()`, `get_request()` and, for `handle_request()`, `socket`.
    """

    timeout: float | None = None

    if TYPE_CHECKING:
        socket: Socket

        def get_request(self) -> tuple[Request, ClientAddress]:
            """Return the next request and the client's address."""
            raise NotImplementedError

        def fileno(self) -> int:
            """Return the descriptor that the loop waits for."""
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
        """Called by the constructor after the socket has its address. Does nothing here."""

    def serve_forever(self, poll_interval: float | None = 0.5) -> None:
        """Serve requests until `shutdown()`, in this thread.

        `service_actions()` is called after each request, and at least every `poll_interval` seconds (None:
        only after requests). An idle server notices `shutdown()` at once; the standard library's does so
        after the interval.

        Raises: what the hooks raise, except an Exception from `process_request` and an OSError from
        `get_request`. It may be called again afterwards.
        """
        self.__is_shut_down.clear()
        try:
            with _public._serving(self, _public._ServerSelector(), _public) as waiting:
                while not self.__shutdown_request:
                    ready = waiting.wait(poll_interval)
                    # A connection that arrives together with the shutdown stays in the kernel's queue.
                    if self.__shutdown_request:
                        break  # type: ignore[unreachable]  # set by another thread or a hook
                    if ready:
                        self._handle_request_noblock()
                    elif waiting.queue_is_empty:
                        break
                    self.service_actions()
        finally:
            self.__shutdown_request = False
            self.__is_shut_down.set()

    def shutdown(self) -> None:
        """Stop `serve_forever()`, which runs in another thread, and wait until it has ended. An idle server
        ends at once.

        Raises: RuntimeError in the serving thread, where the standard library's deadlocks. As there, it waits
        for the next `serve_forever()` if none has run yet, and makes the next one return at once if one has
        ended already.
        """
        servings = poll.servings_of(self)
        if servings and all(serving.is_own_thread() for serving in servings):
            raise RuntimeError(SELF_SHUTDOWN)
        self.__shutdown_request = True
        # Looked up again after the flag is set: a loop that is not found here yet reads the flag later. One
        # flag stops one loop, so one loop is woken, even if two threads serve; and what may be around it.
        for serving in poll.servings_of(self):
            serving.wake()
            if serving.resets_flag:
                break
        if table.is_green(self):
            green = table.port.parts.green()
            if green.current() is not None:
                # This handler must not block the trio run, which the loop may need in order to end.
                green.blocking(self.__is_shut_down.wait)
                return
        self.__is_shut_down.wait()

    def service_actions(self) -> None:
        """Called by the loop after each request and each interval. Does nothing here."""

    def handle_request(self) -> object:
        """Wait for one request and handle it. If none has come within the timeout, call `handle_timeout()`,
        and return its result.

        The timeout, in seconds, is the smaller of `self.timeout` and the socket's own. It bounds the wait and
        not the handler. It waits in the calling thread.
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
            select = own_loop.select_of(self, selector)
            while not select(timeout):
                # After an interruption by a signal, wait for the rest of the time.
                if timeout is not None:
                    timeout = deadline - clock()
                    if timeout < 0:
                        return self.handle_timeout()
            # An override may return a value, which is returned as in the standard library.
            take_one: Callable[[], object] = self._handle_request_noblock
            return take_one()

    def _handle_request_noblock(self) -> None:
        """Take one request that has arrived, and call the hooks for it."""
        try:
            request, client_address = self.get_request()
        except OSError as error:
            # The client has disconnected, a handshake has failed, or another thread has closed the listener.
            # The loop goes on.
            poll.note_accept_error(self, error)
            return
        if not self.verify_request(request, client_address):
            self.shutdown_request(request)
            return
        try:
            self.process_request(request, client_address)
        except Exception:
            # Inside the clause, so that handle_error() may use sys.exc_info() or a bare `raise`. If the
            # thread that should do a handshake could not start, the handshake is done here, before these
            # hooks are called.
            if deferred_tls.complete(self, request):
                self.handle_error(request, client_address)
                self.shutdown_request(request)
        except:
            self.shutdown_request(request)
            raise

    def handle_timeout(self) -> object:
        """Called by `handle_request()` when no request has come in time. Does nothing here."""

    def verify_request(self, request: Request, client_address: ClientAddress) -> object:
        """Return whether to process the request. True here."""
        return True

    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Process a request. Here it is processed in this thread, before another one is accepted."""
        self.finish_request(request, client_address)
        self.shutdown_request(request)

    def server_close(self) -> None:
        """Release the resources of the server. Does nothing here."""

    def finish_request(self, request: Request, client_address: ClientAddress) -> None:
        """Make the handler, which does all its work in its constructor.

        The work of the request table is inlined, since one call takes one percent of the time of a short
        connection. A cut may raise at any moment before the request is sealed, also in `leave()`. There is at
        most one cut for each request, so one of the two calls of `leave()` completes.
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
        """End a request. Here it calls `close_request()`."""
        self.close_request(request)

    def close_request(self, request: Request) -> None:
        """Clean up after a request. Does nothing here."""

    def handle_error(self, request: Request, client_address: ClientAddress) -> None:
        """Print the exception that is being handled to sys.stderr. The server goes on."""
        import traceback  # only if there is an error

        rule = "-" * 40
        print(rule, file=sys.stderr)
        print("Exception occurred during processing of request from", client_address, file=sys.stderr)
        traceback.print_exc()
        print(rule, file=sys.stderr)

    def __enter__(self: _Server) -> _Server:
        return self

    def __exit__(self, *args: object) -> None:
        self.server_close()


#: The code that `control/current_request.py` looks for on the stack of a thread that handles a request.
FINISHING = BaseServer.finish_request.__code__
