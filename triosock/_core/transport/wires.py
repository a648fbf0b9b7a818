"""Which wire carries what a connection was accepted as."""

from __future__ import annotations

import socket

import trio

from ..registry.registry import Entry
from .epoll import Pump
from .socket import SocketWire
from .stream_adapter import StreamWire
from .write_batcher import Postman


def make_wire(
    transport: socket.socket | trio.abc.Stream,
    entry: Entry,
    pump: Pump | None = None,
    postman: Postman | None = None,
) -> SocketWire | StreamWire:
    """Return the wire for a connected non-blocking socket (with `pump` and `postman`, if there are any) or a
    trio stream; TypeError or ValueError for anything else.
    """
    if isinstance(transport, socket.socket):
        if transport.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking: call setblocking(False) first")
        return SocketWire(transport, entry, pump, postman)
    if isinstance(transport, trio.abc.Stream):
        return StreamWire(transport, entry)
    raise TypeError(f"a connection is made of a socket or a trio stream, not {transport!r}")
