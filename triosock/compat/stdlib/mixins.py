# ruff: noqa: D101 - the ready-made classes are empty, docstrings included: people compare and rebuild them.
"""A thread or a process for each request, and the ready-made classes of both.

Rules of this file:

1. A request's thread is a new `threading.Thread` with its usual name. Rejected: threads of trio's cache,
   which are daemons, are reused, and keep the thread-locals of their last user.
2. A forking server adds no thread to the process, neither here nor where it waits (`waiting/poll.py`). A
   process that is forked beside other threads may inherit a lock that is never released.
3. The child runs the handler and `os._exit()`; it never returns to the parent's loop.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Final

from ..requests.signatures import ClientAddress, Request
from ..requests.table import SLOT, request_table_of
from . import deferred_tls
from .base import _public
from .servers import TCPServer, UDPServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..requests.table import RequestTable
    from .base import BaseServer as _Mixed
else:
    _Mixed = object


#: The types of most requests, for which `complete()` has nothing to do.
_PLAIN = frozenset({socket.socket, tuple})


class _Threads(list[threading.Thread]):
    """The threads that `server_close()` waits for: those that are alive, and not daemons."""

    def append(self, thread: threading.Thread) -> None:
        self.reap()
        if not thread.daemon:
            super().append(thread)

    def pop_all(self) -> list[threading.Thread]:
        everyone = self[:]
        self.clear()
        return everyone

    def join(self) -> None:
        for thread in self.pop_all():
            thread.join()

    def reap(self) -> None:
        self[:] = [thread for thread in self if thread.is_alive()]


class _NoThreads:
    """An empty collection, for a server that waits for no thread."""

    def append(self, thread: threading.Thread) -> None:
        pass

    def join(self) -> None:
        pass


class ThreadingMixIn(_Mixed):
    """Process each request in its own thread: `class S(ThreadingMixIn, TCPServer): pass`, mixin first."""

    daemon_threads = False
    block_on_close = True
    _threads: _NoThreads | _Threads = _NoThreads()

    def process_request_thread(self, request: Request, client_address: ClientAddress) -> None:
        """What the thread runs: finish the request, report its error, shut it down."""
        dropped = type(request) not in _PLAIN and not deferred_tls.complete(self, request)
        try:
            if not dropped:
                self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            try:
                if not dropped:
                    self.shutdown_request(request)
            finally:
                request_table: RequestTable | None = self.__dict__.get(SLOT)
                if request_table is not None:
                    request_table.expected.pop(id(request), None)
                    if request_table.is_special or request_table.host is not None:
                        request_table.expected_changed()

    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Start a thread for the request; a task, if the server is green."""
        request_table: RequestTable = self.__dict__.get(SLOT) or request_table_of(self)
        if request_table.green is not None:
            # Asked for again: in the child of a fork, that may be the parent's, whose trio run is not here.
            green = request_table_of(self).green
            assert green is not None
            if self.block_on_close:
                green.become_threads_of(self)
            green.start(self, request, client_address)
            return
        if self.block_on_close:
            vars(self).setdefault("_threads", _public._Threads())
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address))
        thread.daemon = self.daemon_threads
        self._threads.append(thread)
        if type(self).process_request_thread is not STOCK_THREAD or "process_request_thread" in vars(self):
            thread.start()
            return
        # Added before its thread starts; the stock `process_request_thread()` removes it.
        request_table.expected[id(request)] = None
        try:
            thread.start()
        except BaseException:
            request_table.expected.pop(id(request), None)
            request_table.expected_changed()
            raise

    def server_close(self) -> None:
        """Close the listener, then wait for the threads that are not daemons, if `block_on_close` is true."""
        super().server_close()
        self._threads.join()


#: The original method, which a program may replace.
STOCK_THREAD: Final[Callable[..., None]] = ThreadingMixIn.process_request_thread
_METHODS_BETWEEN = ("get_request", "verify_request", "_handle_request_noblock", "process_request")
deferred_tls.completes(ThreadingMixIn, TCPServer, *_METHODS_BETWEEN, "process_request_thread")


if hasattr(os, "fork"):

    class ForkingMixIn(_Mixed):
        """Process each request in a child process. Goes before the server class.

        Children are reaped by `service_actions()`, which the loop calls as soon as one has ended;
        `max_children` bounds them.
        """

        timeout: float | None = 300
        active_children: set[int] | None = None
        max_children = 40
        block_on_close = True

        def collect_children(self, *, blocking: bool = False) -> None:
            """Reap the children that have ended; if `blocking`, wait until all have ended, and reap them."""
            children = self.active_children
            if children is None:
                return
            while len(children) >= self.max_children:
                # This reaps any child, as the standard library does, including children of the program.
                try:
                    pid, _ = os.waitpid(-1, 0)
                except ChildProcessError:
                    children.clear()
                except OSError:
                    break
                else:
                    children.discard(pid)
            for child in children.copy():
                try:
                    pid, _ = os.waitpid(child, 0 if blocking else os.WNOHANG)
                except ChildProcessError:
                    children.discard(child)  # it was reaped elsewhere
                except OSError:
                    pass
                else:
                    children.discard(pid)

        def handle_timeout(self) -> None:
            """Reap children when no request has come in time."""
            self.collect_children()

        def service_actions(self) -> None:
            """Reap children between requests."""
            self.collect_children()

        def process_request(self, request: Request, client_address: ClientAddress) -> None:
            """Fork a child for the request; the parent closes its copy of the socket."""
            pid = os.fork()
            if pid:
                if self.active_children is None:
                    self.active_children = set()
                self.active_children.add(pid)
                self.close_request(request)
                return
            status = 1
            try:
                if type(request) not in _PLAIN and not deferred_tls.complete(self, request):
                    os._exit(0)
                self.finish_request(request, client_address)
                status = 0
            except Exception:
                self.handle_error(request, client_address)
            finally:
                try:
                    self.shutdown_request(request)
                finally:
                    os._exit(status)

        def server_close(self) -> None:
            """Close the listener, then reap the children; wait for them if `block_on_close` is true."""
            super().server_close()
            self.collect_children(blocking=self.block_on_close)

    # The parent closes its copy.
    deferred_tls.completes(ForkingMixIn, TCPServer, *_METHODS_BETWEEN, "close_request", forks=True)

    class ForkingUDPServer(ForkingMixIn, UDPServer):
        pass

    class ForkingTCPServer(ForkingMixIn, TCPServer):
        pass


class ThreadingUDPServer(ThreadingMixIn, UDPServer):
    pass


class ThreadingTCPServer(ThreadingMixIn, TCPServer):
    pass


if hasattr(socket, "AF_UNIX"):
    from .servers import UnixDatagramServer, UnixStreamServer

    class ThreadingUnixStreamServer(ThreadingMixIn, UnixStreamServer):
        pass

    class ThreadingUnixDatagramServer(ThreadingMixIn, UnixDatagramServer):
        pass

    if sys.version_info >= (3, 12) and hasattr(os, "fork"):

        class ForkingUnixStreamServer(ForkingMixIn, UnixStreamServer):
            pass

        class ForkingUnixDatagramServer(ForkingMixIn, UnixDatagramServer):
            pass
