"""Pairs of connections: over a Unix socket pair, over TCP, over memory, and one that takes no more."""

from __future__ import annotations

import contextlib
import os
import socket

import trio
import trio.testing

from triosock import Connection, Timeouts
from triosock._core.registry.registry import Entry
from triosock._core.stream.request_state import RequestState
from triosock._core.transport.epoll import EpollReader
from triosock._core.transport.wires import make_wire
from triosock._core.transport.write_batcher import WriteBatcher


def served(
    sock: socket.socket, *, epoll_reader: EpollReader | None = None, batcher: WriteBatcher | None = None
) -> Connection:
    """A connection as a server makes it, with what its server would give it."""
    entry = Entry(accepted=trio.current_time())
    wire = make_wire(sock, entry, epoll_reader, batcher)
    connection = Connection.__new__(Connection)
    RequestState.__init__(connection, wire, entry, Timeouts(), None, None, None, None)
    return connection


def moved_to(number: int, sock: socket.socket) -> socket.socket:
    """Give a socket this descriptor, which is closed first if it is open; and return the socket."""
    os.dup2(sock.fileno(), number, inheritable=False)
    sock.close()
    moved = socket.socket(fileno=number)
    moved.setblocking(False)
    return moved


def socket_pair() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    for sock in (one, other):
        sock.setblocking(False)
    return one, other


def socket_pair_at(number: int) -> tuple[socket.socket, socket.socket]:
    """As `socket_pair`; the first one has this descriptor, which must be free."""
    one, other = socket_pair()
    if other.fileno() == number:
        one, other = other, one
    return one if one.fileno() == number else moved_to(number, one), other


def blocking_pair() -> tuple[socket.socket, socket.socket]:
    """A client of TCP, and its socket at the server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    return client, accepted


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    one, other = blocking_pair()
    for sock in (one, other):
        sock.setblocking(False)
    return one, other


async def pair() -> tuple[Connection, Connection]:
    one, other = tcp_pair()
    return Connection(one), Connection(other)


def fill(sock: socket.socket) -> int:
    """Send until the kernel takes no more, and return how much that was, all of it "x"."""
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += sock.send(b"x" * 65536)
    return filled


async def clogged_pair() -> tuple[Connection, Connection]:
    one, other = socket_pair()
    fill(one)
    fill(other)
    return Connection(one), Connection(other)


async def memory_pair() -> tuple[Connection, Connection]:
    one, other = trio.testing.memory_stream_pair()
    return Connection(one), Connection(other)
