"""Standard input and output as one connection: of a shell, of inetd, of a service manager that accepts.

The cases, and the peer in each:

    LISTEN_FDS=1 with a connected socket    systemd's Accept=yes: the socket's peer
    0 and 1 are the same connected socket   inetd's nowait: the socket's peer
    anything else                           a terminal, pipes, files: a peer without an address

The invariants:

1. **What is shared is left as it was.** Whether a file blocks is a property that all its holders share, a
   shell for instance, or our own stderr. So pipes and terminals are opened anew (proc(5), /proc/PID/fd), with
   their own property; for files that cannot be, it is restored at the end.
2. **A socket has one owner.** While it is served, 0, 1 and 2, as far as they are that socket, are /dev/null:
   so its end is the end, and what a program prints or logs does not get into the stream.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from typing import Final, final

import attrs
import trio

from ..model.addresses import Address, MemoryAddress, TcpAddress, UnixAddress, from_sockaddr
from ..registry.registry import Registry
from .listener import Accepted, Listener
from .systemd import has_inherited_connection, inherited_connection

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2


@final
@attrs.frozen
class Standard:
    """The connection on standard input and output: `accepted`, its peer, and its name."""

    accepted: Accepted
    peer: Address
    local: Address


@contextlib.contextmanager
def open_stdio() -> Iterator[Standard]:
    """Take over what is on standard input and output, for the length of the block.

    Raises: ValueError if it is no connection (closed, a listening socket, datagrams); NotImplementedError on
    systems without non-blocking files.
    """
    check_stdio()
    with contextlib.ExitStack() as taken:
        sock = inherited_connection()
        if sock is None and _is_one_socket():
            sock = _take_socket(taken)
        yield _of_files(taken) if sock is None else _of_socket(sock, taken)


def check_stdio() -> None:
    """Raise ValueError if there is no connection for `open_stdio` to take over. Changes nothing."""
    if not has_inherited_connection():
        _check_open()
        if _is_one_socket():
            _check_connection()


def stderr_is_stdin() -> bool:
    """Whether what is logged on stderr would go to the other end of a socket on stdin."""
    return _is_socket(STDIN) and _is_same(STDIN, STDERR)


def _check_open() -> None:
    # The interpreter has checked this at its start; since then the number may be another file's.
    if sys.__stdin__ is None or sys.__stdout__ is None:
        raise ValueError("there is no standard input or output: this program was started with it closed")


def _check_connection() -> None:
    with socket.socket(fileno=os.dup(STDIN)) as sock:
        if sock.type != socket.SOCK_STREAM or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError(
                "stdin is a socket, and no connection: serve_stdio() wants inetd's nowait, or Accept=yes; a "
                "listening socket is for serve_listeners(), one of datagrams for serve_datagram_sockets()"
            )


def _is_one_socket() -> bool:
    return _is_socket(STDIN) and _is_same(STDIN, STDOUT)


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _is_same(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


# A socket


def _take_socket(taken: contextlib.ExitStack) -> socket.socket:
    sock = socket.socket(fileno=os.dup(STDIN))
    taken.callback(sock.close)
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        for descriptor in (STDERR, STDOUT, STDIN):
            if _is_same(sock.fileno(), descriptor):
                os.dup2(nowhere, descriptor)
    finally:
        os.close(nowhere)
    return sock


def _of_socket(sock: socket.socket, taken: contextlib.ExitStack) -> Standard:
    taken.callback(sock.close)
    _put_back(sock.fileno(), taken)
    sock.setblocking(False)
    local = from_sockaddr(sock.family, socket.SOCK_STREAM, sock.getsockname())
    try:
        peer = from_sockaddr(sock.family, socket.SOCK_STREAM, sock.getpeername())
    except OSError:
        peer = _peer_in_environment()  # it has gone already
    return Standard(sock, peer, local)


def _peer_in_environment() -> Address:
    """Return the peer that systemd names (systemd.exec(5)): its address and port, or its path."""
    host, port = os.environ.get("REMOTE_ADDR", ""), os.environ.get("REMOTE_PORT", "")
    return TcpAddress(host, int(port)) if port.isdecimal() else UnixAddress(host)


def _put_back(descriptor: int, taken: contextlib.ExitStack) -> None:
    """Restore at the end of the block whether the file blocks, for the other processes that hold it."""
    keeper, was_blocking = os.dup(descriptor), os.get_blocking(descriptor)

    def put_back() -> None:
        os.set_blocking(keeper, was_blocking)
        os.close(keeper)

    taken.callback(put_back)


# Files


def _of_files(taken: contextlib.ExitStack) -> Standard:
    if not hasattr(trio.lowlevel, "FdStream"):
        raise NotImplementedError("serve_stdio() needs files that do not block, which this system has not")
    stream = StdioStream(_open(STDIN, os.O_RDONLY, taken), _open(STDOUT, os.O_WRONLY, taken))
    here = MemoryAddress("stdio")
    return Standard(stream, here, here)


def _open(descriptor: int, mode: int, taken: contextlib.ExitStack) -> trio.lowlevel.FdStream:
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(kind) or os.isatty(descriptor):
        with contextlib.suppress(OSError):  # no /proc, no longer ours, or no other end
            again = os.open(f"/proc/self/fd/{descriptor}", mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            return _closed_by(taken, again)
    _put_back(descriptor, taken)
    return _closed_by(taken, os.dup(descriptor))


def _closed_by(taken: contextlib.ExitStack, descriptor: int) -> trio.lowlevel.FdStream:
    stream = trio.lowlevel.FdStream(descriptor)
    taken.callback(stream.close)
    return stream


@final
class StdioStream(trio.abc.Stream):
    """Two files as a stream. It cannot be ended in one direction: others may hold its files, too."""

    def __init__(self, reading: trio.lowlevel.FdStream, writing: trio.lowlevel.FdStream) -> None:
        self._reading = reading
        self._writing = writing

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for some bytes; b"" at the end."""
        return await self._reading.receive_some(max_bytes)

    def has_input(self) -> bool:
        """Whether something, or the end, is there to be received."""
        waiting = select.poll()
        waiting.register(self._reading.fileno(), select.POLLIN)
        return bool(waiting.poll(0))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it."""
        await self._writing.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Return when more may be taken."""
        await self._writing.wait_send_all_might_not_block()

    def close(self) -> None:
        """Close our own descriptors of both."""
        self._reading.close()
        self._writing.close()

    async def aclose(self) -> None:
        """Close. A checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()


@final
class OneConnection(Listener):
    """A listener to which one connection comes, which is there already; when that has gone, `on_end` is
    called.
    """

    def __init__(self, standard: Standard, registry: Registry) -> None:
        self._accepted: Accepted | None = standard.accepted
        self._standard = standard
        self._registry = registry
        self._closed = False
        self.on_end: Callable[[], object] = lambda: None

    @property
    def address(self) -> Address:
        """Its name here."""
        return self._standard.local

    async def wait_ready(self) -> None:
        """Return if the connection is there; otherwise wait until it has gone, and call `on_end`."""
        await trio.lowlevel.checkpoint()
        if self._accepted is None:
            await self._registry.wait_empty()
            self.on_end()
            await trio.sleep_forever()

    def accept_nowait(self) -> tuple[Accepted, Address]:
        """Return the connection, once."""
        if self._accepted is None:
            raise trio.WouldBlock
        accepted, self._accepted = self._accepted, None
        return accepted, self._standard.peer

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Stop accepting. A connection that was not accepted is closed by its opener."""
        self._closed = True
