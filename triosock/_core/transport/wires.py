"""Chooses the wire for an accepted socket or stream, and finds the socket of one."""

from __future__ import annotations

import socket

import trio

from ..registry.registry import Entry
from .epoll import EpollReader
from .socket import SocketWire
from .stream_adapter import StreamWire
from .write_batcher import WriteBatcher


def make_wire(
    transport: socket.socket | trio.abc.Stream,
    entry: Entry,
    epoll_reader: EpollReader | None = None,
    batcher: WriteBatcher | None = None,
) -> SocketWire | StreamWire:
    """Return the wire for a connected non-blocking socket (with `epoll_reader` and `batcher`, if there are
    any) or a trio stream; TypeError or ValueError for anything else.
    """
    if isinstance(transport, socket.socket):
        if transport.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking: call setblocking(False) first")
        return SocketWire(transport, entry, epoll_reader, batcher)
    if isinstance(transport, trio.abc.Stream):
        return StreamWire(transport, entry)
    raise TypeError(f"a connection is made of a socket or a trio stream, not {transport!r}")


def socket_under(transport: object) -> socket.socket | trio.socket.SocketType | None:
    """Return the socket of a transport, also of trio's own streams around one; None if there is none."""
    while isinstance(transport, trio.SSLStream):
        transport = transport.transport_stream
    if isinstance(transport, trio.SocketStream):
        return transport.socket
    return transport if isinstance(transport, socket.socket) else None
