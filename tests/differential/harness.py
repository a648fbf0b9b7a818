"""The same scenario against the standard library's module and against triosock.compat; what it observes must
agree.

A scenario is a function of the module and a `Log`, and of what its test is given besides; it returns what it
observed. It makes its servers and handlers from the module that it is given. What may differ and is made
equal before the comparison: file names, line numbers and source lines in tracebacks, addresses, process ids,
and the numbers of threads.

Time is observed as a bound only, far above what it takes on a busy machine.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import io
import os
import pprint
import re
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any
from unittest import mock

import pytest

import triosock.compat
from tests.waiting import PATIENCE, returns
from triosock.compat.bridge.trio_thread import THREAD_NAME
from triosock.compat.requests import table

MODULES = (socketserver, triosock.compat)

#: All the ready-made servers of the standard library of this Python.
SERVERS = [name for name in socketserver.__all__ if name.endswith("Server") and name != "BaseServer"]
STREAMS = [name for name in SERVERS if "TCP" in name or "Stream" in name]
DATAGRAMS = [name for name in SERVERS if name not in STREAMS]
IN_PROCESS = [name for name in SERVERS if "Forking" not in name]

#: The interpreter warns of any fork beside a second thread; here the tests' own threads are that.
forks_are_fine = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def compared(scenario: Callable[..., Any]) -> Callable[..., None]:
    """Make a test of a scenario: it is run against both modules, and observes the same."""

    @functools.wraps(scenario)
    def test(**given: Any) -> None:
        compare(scenario, **given)

    signature = inspect.signature(scenario)
    of_the_test = [one for one in signature.parameters.values() if one.name not in ("module", "log")]
    test.__signature__ = signature.replace(parameters=of_the_test)  # type: ignore[attr-defined]
    return forks_are_fine(test)


def compare(scenario: Callable[..., Any], **given: Any) -> Any:
    """Run a scenario against both modules and assert that it observed the same; return that."""
    seen = []
    for module in MODULES:
        with Log() as log:
            seen.append(normal(scenario(module, log, **given)))
    if seen[1] != seen[0]:
        fail(*seen, "compat")
    if mentions_threads(scenario, given):
        compare_green(scenario, seen[0], **given)
    return seen[0]


#: What a green server does in another way, by the name of the test: docs/reference/compat-deviations.md.
GREEN_DIFFERS = {
    "test_the_request_is_the_genuine_blocking_socket": "it is of a subclass of socket.socket",
    "test_datagrams": "a handler's socket is not the server's own object, as it may have to wait",
    "test_the_thread_of_a_request": "there is none",
    "test_a_thread_that_does_not_start": "no thread is started for a request",
}


def mentions_threads(scenario: Callable[..., Any], given: dict[str, Any]) -> bool:
    """Whether a scenario names a threading server: in its code, or in what it is given or takes from around
    it.
    """
    code = getattr(scenario, "__code__", None)
    if code is None:
        return False
    cells = [cell.cell_contents for cell in scenario.__closure__ or ()]
    found: list[object] = [*cells, *given.values()]
    codes = [code]
    while codes:
        one = codes.pop()
        found += [*one.co_names, *one.co_consts]
        codes += [const for const in one.co_consts if isinstance(const, CodeType)]
    return any(isinstance(one, str) and one.startswith("Threading") for one in found)


def compare_green(scenario: Callable[..., Any], expected: Any, **given: Any) -> None:
    """Run a scenario of a threading server once more, with tasks in the place of its threads."""
    expected = as_requests(expected)
    test = scenario.__qualname__.partition(".")[0]
    table.all_green = True
    try:
        with Log() as log:
            seen = as_requests(normal(scenario(triosock.compat, log, **given)))
    finally:
        table.all_green = False
    if test in GREEN_DIFFERS:
        assert seen != expected, f"{test}: this is no difference any more"
    elif seen != expected:
        fail(expected, seen, "green")


def fail(expected: Any, seen: Any, name: str) -> None:
    """Show where they differ."""
    lines = [pprint.pformat(one, width=110).splitlines() for one in (expected, seen)]
    pytest.fail("\n".join(difflib.unified_diff(*lines, "stdlib", name, n=1, lineterm="")), pytrace=False)


def as_requests(value: Any) -> Any:
    """Make equal the names of a request's thread and of the thread in which its task runs."""
    if isinstance(value, str):
        value = re.sub(r"Thread-N \((hook|process_request_thread)\)", "REQUEST", value)
        return value.replace(THREAD_NAME, "REQUEST")
    if isinstance(value, dict):
        return {as_requests(key): as_requests(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_requests, value))
    return value


def normal(value: Any) -> Any:
    """Make equal what may differ."""
    if isinstance(value, str):
        value = re.sub(r"(/[\w.+-]+)+/[\w.-]+\.py", "FILE", value)
        value = re.sub(r"line \d+", "line N", value)
        value = re.sub(r'(File "FILE", line N, in \w+)\n    .*(\n    [ ~^]+)?', r"\1", value)
        value = re.sub(r"triosock\.compat(\.\w+)?|socketserver", "MODULE", value)
        value = re.sub(r"127\.0\.0\.1', \d+", "127.0.0.1', PORT", value)
        value = re.sub(r"Thread-\d+", "Thread-N", value)
        value = re.sub(r"0x[0-9a-f]+", "0xN", value)
        value = re.sub(r"\bfd=\d+", "fd=N", value)  # newer versions of libffi keep a descriptor of their own
        return re.sub(re.escape(tempfile.gettempdir()) + r"[\w/.-]+", "PATH", value)
    if isinstance(value, dict):
        return {normal(key): normal(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(normal, value))
    return value


def error_text(error: BaseException | None) -> str:
    """Return an exception as it can be compared."""
    return "no error" if error is None else f"{type(error).__name__}: {error}"


class Log:
    """What was called, by whom. Child processes write into the same file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 - closed by __exit__
        self._pid = os.getpid()
        self.server_thread: int | None = None

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def role(self) -> str:
        """Who is running: the thread that serves, a thread by its name, or a child process."""
        if os.getpid() != self._pid:
            return "child"
        if threading.get_ident() == self.server_thread:
            return "server thread"
        if threading.current_thread() is threading.main_thread():
            return "main"
        return re.sub(r"\d+", "N", threading.current_thread().name)

    def __call__(self, what: str) -> None:
        self._file.write(f"{self.role()}|{what}\n".encode())

    def by_role(self) -> dict[str, list[str]]:
        """Return what each did, in order. Idle ticks vary in number and are left out."""
        found: dict[str, list[str]] = {}
        for line in self._read().decode().splitlines():
            role, _, what = line.partition("|")
            calls = found.setdefault(role, [])
            if what != "service_actions" or (calls and calls[-1] != what):
                calls.append(what)
        return found

    def count(self, what: str) -> int:
        """Return how often it was logged."""
        return sum(line.endswith(f"|{what}".encode()) for line in self._read().splitlines())

    def _read(self) -> bytes:
        # Not by seeking: the position in the file is shared with all who write.
        return os.pread(self._file.fileno(), 1 << 20, 0)


HOOKS = (
    "server_bind", "server_activate", "get_request", "verify_request", "process_request", "finish_request",
    "shutdown_request", "close_request", "service_actions", "handle_timeout", "server_close", "handle_error",
    "process_request_thread",
)  # fmt: skip


def logged(base: type, log: Log) -> Any:
    """Return a subclass whose hooks are logged."""

    def wrap(name: str) -> Callable[..., Any]:
        def hook(self: Any, *args: Any) -> Any:
            log(name)
            return getattr(super(kind, self), name)(*args)

        return hook

    kind: Any = type(base.__name__, (base,), {name: wrap(name) for name in HOOKS if hasattr(base, name)})
    return kind


def make_address(kind: str) -> Any:
    """Return where such a server can listen."""
    if "Unix" in kind:
        return os.path.join(tempfile.mkdtemp(prefix="triosock"), "socket")
    return ("127.0.0.1", 0)


def dial(server: Any) -> socket.socket:
    """Return a client of a server: connected, bounded in time, and with an address of its own for replies."""
    kind = server.socket_type
    client = socket.socket(server.address_family, kind)
    client.settimeout(PATIENCE)
    if kind == socket.SOCK_DGRAM and server.address_family == socket.AF_UNIX:
        client.bind(make_address("Unix"))
    client.connect(server.server_address)
    return client


def ask(server: Any, data: bytes) -> bytes:
    """Send a line or a datagram and return the answer: up to the end of the stream, or one datagram."""
    with dial(server) as client:
        client.sendall(data)
        if server.socket_type == socket.SOCK_DGRAM:
            return client.recv(100_000)
        return read_all(client)


def say(client: socket.socket, data: bytes) -> None:
    """Send, to a server that may have hung up already."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(data)


def read_all(client: socket.socket) -> bytes:
    """Read up to the end of the stream."""
    parts = []
    with contextlib.suppress(ConnectionResetError):  # whether input is left unread: a matter of who was first
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


class Serving:
    """`serve_forever()` in a thread, and what came out of it; as a block, it is stopped at the end."""

    def __init__(self, server: Any, log: Log | None = None, interval: Any = 0.02) -> None:
        self.server = server
        self.error: BaseException | None = None
        self.value: Any = None
        self.ended = ""
        self._interval = interval
        self._log = log
        self.thread = threading.Thread(target=self._run, name="serving", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        if self._log is not None:
            self._log.server_thread = threading.get_ident()
        try:
            self.value = self.server.serve_forever(self._interval)
        except BaseException as error:
            self.error = error

    def join(self) -> str:
        """Wait for its end; return how it ended."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "serve_forever() did not end"
        return error_text(self.error)

    def stop(self) -> str:
        """Shut down, and wait."""
        assert returns(self.server.shutdown), "shutdown() did not return"
        return self.join()

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *exc: object) -> None:
        self.ended = self.stop()


def captured_stderr() -> contextlib.redirect_stderr[io.StringIO]:
    """Put a buffer in the place of sys.stderr."""
    return contextlib.redirect_stderr(io.StringIO())


@contextlib.contextmanager
def thread_errors() -> Iterator[list[str]]:
    """Collect what leaves threads."""
    found: list[str] = []

    def note(args: threading.ExceptHookArgs) -> None:
        found.append(f"{args.exc_type.__name__}: {args.exc_value}")

    with mock.patch.object(threading, "excepthook", note):
        yield found


def call(function: Any, *args: Any) -> Any:
    """Return what a call returns, or the text of its error."""
    try:
        return function(*args)
    except BaseException as error:
        return error_text(error)


def echo(module: Any) -> Any:
    class Handler(module.BaseRequestHandler):
        def handle(self) -> None:
            if isinstance(self.request, tuple):
                self.request[1].sendto(self.request[0].upper(), self.client_address)
            else:
                self.request.sendall(self.request.recv(100).upper())

    return Handler
