"""The green requests of one server: started by the serving thread, run as tasks in the server's host.

Rules of this file:

1. The group has acquired the host as long as a request is live: from `start()` to the end of its task. The
   last request releases it, in its own task if the loop has ended before.
2. They are system tasks, so no exception but a cancellation may leave one: others are passed to
   `threading.excepthook`, as those of a thread.
3. Handlers that block the event loop are reported while a loop of the server runs, from its first request on.
4. `join()` returns when all requests that are not daemons have ended. The group is the server's `_threads`,
   which `server_close()` joins.
5. A group belongs to one process. In the child of a fork, no task of the parent's group exists, and its lock
   may be held: the child waits for none of its requests, and puts its own group in its place.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

import trio

from triosock import Cause
from triosock.compat.bridge import trio_thread as hosts

from . import tasks
from .make import make_green
from .proxying import read_client_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triosock.compat.requests.ports import ThreadingServer
    from triosock.compat.requests.signatures import ClientAddress, Request
    from triosock.compat.requests.table import RequestTable

    from .watch import Watch

#: `Policy.blocking_after` of a server without a policy, in seconds.
DEFAULT_BLOCKING_AFTER = 1.0


class Group:
    """The green requests of a server in one process."""

    def __init__(self, request_table: RequestTable) -> None:
        self._request_table = request_table
        self._changed = threading.Condition()
        self._live: dict[int, tasks.GreenTask] = {}
        self._host: hosts.Host | None = None
        #: Whether the host is a trio program, which is not released.
        self._is_chosen = False
        #: The number of running loops, and the watch of the requests while there is one.
        self._loops = 0
        self._watch: Watch | None = None
        #: The listener whose descriptor is non-blocking until the last loop ends: see `accepting.py`.
        self._listener: socket.socket | None = None
        self._proxy = None if request_table.policy is None else request_table.policy.proxy
        self._blocking_after: float = (
            DEFAULT_BLOCKING_AFTER if request_table.policy is None else request_table.policy.blocking_after
        )

    def __len__(self) -> int:
        """Return the number of requests that `join()` would wait for."""
        return sum(not task.daemon for task in tuple(self._live.values()))

    def __iter__(self) -> Iterator[tasks.GreenTask]:
        """Iterate over the requests that `join()` would wait for."""
        return iter([task for task in tuple(self._live.values()) if not task.daemon])

    # In the serving thread

    def start(self, server: ThreadingServer, request: Request, client_address: ClientAddress) -> None:
        """Have `server.process_request_thread()` called in a task. Does not wait for its end. If no loop
        runs, waits for its beginning, as `Thread.start()` does: a program that calls `handle_request()` may
        count requests afterwards.

        Raises: RuntimeError if no trio run can be started; the request is closed then.
        """
        # Before the socket is taken over: a property `daemon_threads` is code of the program, and may raise.
        task = tasks.GreenTask(daemon=server.daemon_threads)
        green = make_green(request)
        try:
            host = self._enter(server, task, green)
            if self._loops or trio.lowlevel.in_trio_run():
                host.call(self._spawn, server, task, green, client_address)
            else:
                self._spawn_and_wait(host, lambda: self._spawn(server, task, green, client_address))
        except BaseException:
            self._leave(task, green)
            if green is not request and not isinstance(green, tuple):
                green.close()
            raise

    def _spawn_and_wait(self, host: hosts.Host, spawn: Callable[[], None]) -> None:
        """Have the task started, and return when it has begun."""
        # Acquired once more, since a short request may release the host during this wait.
        held = host if self._is_chosen else hosts.acquire_host()
        try:
            host.call(spawn)
            host.run(trio.CancelScope(), trio.lowlevel.checkpoint)
        finally:
            hosts.release_host(held)

    def become_threads_of(self, server: ThreadingServer) -> None:
        """Become the server's `_threads`, unless the program has put an object of its own there."""
        threads = vars(server).setdefault("_threads", self)
        if threads is not self and isinstance(threads, Group):
            vars(server)["_threads"] = self  # that was the parent's group

    def loop_begins(self) -> None:
        """A `serve_forever()` has begun."""
        with self._changed:
            self._loops += 1

    def loop_ends(self) -> None:
        """A `serve_forever()` has ended. The last one ends the watch of the requests, and makes the listener
        blocking again.
        """
        with self._changed:
            self._loops -= 1
            if self._loops:
                return
            watch, self._watch = self._watch, None
            listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):  # another thread has closed it
                listener.settimeout(listener.gettimeout())
        if watch is not None:
            watch.end(self._blocking_after)

    def join(self) -> None:
        """Wait until all requests that are not daemons have ended. Raises: RuntimeError in a green
        handler.
        """
        if self._request_table.pid != os.getpid():
            return
        if tasks.current() is not None:
            raise RuntimeError(
                "server_close() waits for all requests, and this is one of them: it would wait for itself"
            )
        with self._changed:
            if not len(self):
                return
            # Acquired, so that this call is the last one to release it, and its thread has ended afterwards.
            held = self._host if self._is_chosen else hosts.acquire_host()
            assert held is not None
        try:
            with self._changed:
                self._changed.wait_for(lambda: not len(self))
        finally:
            hosts.release_host(held)

    def _enter(self, server: ThreadingServer, task: tasks.GreenTask, request: Request) -> hosts.Host:
        self._request_table.expected[id(request)] = None
        with self._changed:
            if self._host is None:
                chosen = hosts.host_for(server)
                self._is_chosen = chosen is not None
                self._host = chosen or hosts.acquire_host()
            self._live[task.number] = task
            return self._host

    def _leave(self, task: tasks.GreenTask, request: Request) -> None:
        self._request_table.expected.pop(id(request), None)
        self._request_table.expected_changed()
        with self._changed:
            self._live.pop(task.number, None)
            host = None if self._live else self._host
            if host is not None:
                self._host = None
                hosts.release_host(host)
            self._changed.notify_all()

    # In the trio thread

    def admit(
        self,
        server: ThreadingServer,
        green: socket.socket,
        client_address: ClientAddress,
        *,
        daemon: bool,
        counts: bool,
    ) -> None:
        """Do what `start()` does, for a request that was accepted in the trio thread.

        Args: `daemon` and `counts` are the server's `daemon_threads` and `block_on_close`.
        """
        if counts:
            self.become_threads_of(server)
        task = tasks.GreenTask(daemon=daemon)
        try:
            self._enter(server, task, green)
            self._spawn(server, task, green, client_address)
        except BaseException:
            self._leave(task, green)
            green.close()
            raise

    def make_nonblocking(self, listener: socket.socket) -> None:
        """Make the descriptor of a listener non-blocking until the last loop ends."""
        os.set_blocking(listener.fileno(), False)
        self._listener = listener

    def _start_watch(self) -> None:
        with self._changed:
            if self._watch is not None or not self._loops or self._blocking_after == math.inf:
                return
            watch = tasks.readers_here().watch
            try:
                watch.begin(self._blocking_after)
            except RuntimeError:
                return  # no thread can be started: the server runs without a watch
            self._watch = watch

    def task(self, number: int) -> tasks.GreenTask | None:
        """Return the task of this number."""
        return self._live.get(number)

    def _spawn(
        self, server: ThreadingServer, task: tasks.GreenTask, request: Request, client_address: ClientAddress
    ) -> None:
        if self._watch is None:
            self._start_watch()
        tasks.spawn(self._run, server, task, request, client_address, name=type(server).__name__)

    async def _run(
        self, server: ThreadingServer, task: tasks.GreenTask, request: Request, client_address: ClientAddress
    ) -> None:
        try:
            with task.scope:
                if self._proxy is not None and isinstance(request, socket.socket):
                    with self._request_table.handshakes.during(request):
                        goes_on, client_address = await read_client_address(
                            self._proxy, request, client_address
                        )
                    if not goes_on:
                        return self._refuse(request)
                await task.run(_handle, server, request, client_address)
        except trio.Cancelled:
            raise  # the trio program itself ends
        except BaseException as error:
            # SystemExit and KeyboardInterrupt included, as in a thread: `handle_error()` does not get them.
            tasks.report(error)
        finally:
            if task.was_cancelled and not task.scope.cancelled_caught:
                print(_SWALLOWED.format(server.RequestHandlerClass, client_address), file=sys.stderr)
            self._leave(task, request)

    def _refuse(self, request: socket.socket) -> None:
        request.close()
        request_table = self._request_table
        with request_table.lock:
            tally = request_table.registry.tally
            tally.accepted += 1
            tally.ended[Cause.HANDSHAKE] += 1


_SWALLOWED = (
    "triosock.compat: {} was cancelled while it handled {} and caught that (trio.Cancelled) without raising "
    "it again: catch Exception, and not BaseException, around what waits"
)


def _handle(server: ThreadingServer, request: Request, client_address: ClientAddress) -> None:
    try:
        server.process_request_thread(request, client_address)
    finally:
        if isinstance(request, tuple) and hasattr(request[1], "release_descriptor"):
            request[1].release_descriptor()
