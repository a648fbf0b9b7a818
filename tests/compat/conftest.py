"""Servers of triosock.compat for tests: started, stopped, and nothing left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.waiting import PATIENCE, eventually, in_a_thread, returns, threads_named
from triosock import DrainReport, compat
from triosock.compat.bridge.trio_thread import THREAD_NAME


class Gate:
    """Where a handler stops until the test lets it go on; bounded, and opened when the test has ended."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def pass_through(self) -> None:
        self.entered.set()
        assert self.opened.wait(PATIENCE), "the test never opened the gate"


class Running:
    """A server that serves in a thread."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.error: BaseException | None = None
        self._clients: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.thread = threading.Thread(target=self._run, name="serving", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.server.serve_forever(10)
        except BaseException as error:
            self.error = error

    def dial(self, data: bytes = b"") -> socket.socket:
        """Return a connected client that has sent `data`."""
        client = socket.socket(self.server.address_family, self.server.socket_type)
        self._clients.add(client)
        client.settimeout(PATIENCE)
        client.connect(self.server.server_address)
        client.sendall(data)
        return client

    def end(self) -> None:
        """Shut it down, and close it."""
        self.shutdown()
        self.join()
        assert returns(self.server.server_close), "a handler has not ended"

    def shutdown(self) -> None:
        """Shut it down; an AssertionError if its loop does not end in time."""
        assert returns(self.server.shutdown), "the loop of the server has not ended"

    def join(self) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def stop(self) -> None:
        """End all that is left of it; an AssertionError if something does not end by itself."""
        self.hang_up()
        if self.thread.is_alive():
            self.shutdown()
        self.join()
        if not returns(self.server.server_close):
            # A child has copies of the clients that were open at its fork, and may wait for their end.
            for pid in tuple(getattr(self.server, "active_children", None) or ()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError("a handler has not ended, though its client is closed")

    def hang_up(self) -> None:
        """Close the clients that a failed test has left open: a handler may wait for their end."""
        for client in tuple(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)  # a forked child has a copy of it
            client.close()

    @contextlib.contextmanager
    def draining(self, grace: float) -> Iterator[list[DrainReport]]:
        """A drain in another thread, which has begun, and is over after the block; its report."""
        reports: list[DrainReport] = []
        with in_a_thread(lambda: reports.append(compat.drain(self.server, grace=grace))):
            assert eventually(lambda: compat.statistics(self.server).draining)
            yield reports


#: Asked for, so that servers wait in the trio run here, whichever test comes first: see `loading.py`.
_LOADED = compat.ThreadingMixIn


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def start(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    """`start(kind, handler, **attributes)`: a server of a subclass of that kind, served in a thread until the
    test ends. What a test has patched stays so until the servers have ended, since `monkeypatch` is older.

    A test that failed may have left anything: closed gates, open clients, handlers and children that wait for
    them. The end is bounded all the same.
    """
    before = set(threading.enumerate())
    with contextlib.ExitStack() as stack:

        def start(kind: str, handler: Any, **attributes: Any) -> Running:
            server_class = type(kind, (getattr(compat, kind),), attributes)
            address: Any = ("127.0.0.1", 0)
            if "Unix" in kind:
                address = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), "socket")
            running = Running(server_class(address, handler))
            stack.callback(running.stop)
            return running

        yield start
        gate.opened.set()
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("Trio thread"):
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{thread} is left"


@pytest.fixture
def start_tls(start: Any, contexts: Any) -> Any:
    """As `start`, with TLS on the listening socket."""

    def activate(server: Any) -> None:
        compat.TCPServer.server_activate(server)
        server.socket = contexts[0].wrap_socket(server.socket, server_side=True)

    return lambda kind, handler, **attributes: start(kind, handler, server_activate=activate, **attributes)


class _FailsToClose(socket.socket):
    def close(self) -> None:
        super().close()
        raise ValueError("as a socket of the program's own may")


def _activate(server: Any) -> None:
    compat.TCPServer.server_activate(server)
    server.socket = _FailsToClose(fileno=server.socket.detach())


#: Attributes of a TCP server whose listener raises a ValueError when a drain closes it.
LISTENER_FAILS_TO_CLOSE: dict[str, Any] = {"server_activate": _activate, "server_close": lambda self: None}


def host_threads() -> list[threading.Thread]:
    """The thread of the trio run that serves all, if there is one."""
    return threads_named(THREAD_NAME)


def read_all(client: socket.socket) -> bytes:
    """Read up to the end of the stream, and close."""
    parts = []
    with client:
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.fixture
def lines() -> Any:
    """A handler that answers each line in capitals, as long as there are lines."""

    class Lines(compat.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(line.upper())

    return Lines


@pytest.fixture
def raw() -> Any:
    """The same on the bare socket."""

    class Raw(compat.BaseRequestHandler):
        def handle(self) -> None:
            while data := self.request.recv(1000):
                self.request.sendall(data.upper())

    return Raw
