"""The address of a request and the cause of its end, for entries, events and reports.

A request may be anything that `get_request()` returns, so none of these functions raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triosock import Cause, MemoryAddress
from triosock._core.model.addresses import from_sockaddr

from .thread_interrupt import RequestCut

if TYPE_CHECKING:
    from triosock import Address

    from ..requests.ports import Server
    from ..requests.signatures import ClientAddress, Request

_NO_ADDRESS = (AttributeError, TypeError, ValueError, IndexError, KeyError, OSError)


def cause_of(error: BaseException | None) -> Cause:
    """Return the cause of the end of a handler that raised `error`, or returned."""
    if error is None:
        return Cause.FINISHED
    if isinstance(error, RequestCut):
        return Cause.DRAIN
    return Cause.PEER if isinstance(error, ConnectionError) else Cause.FAILED


def _socket_of(request: object) -> Any:
    """Return the request, or the second part of a datagram's request: the object that may be a socket."""
    return request[1] if isinstance(request, tuple) and len(request) == 2 else request


def address_of(request: object, client_address: ClientAddress) -> Address:
    """Return the address of the client of a request."""
    sock = _socket_of(request)
    try:
        return from_sockaddr(sock.family, sock.type, client_address)
    except _NO_ADDRESS:
        # Any object may be the request or the address.
        return MemoryAddress(repr(client_address))


def peer_of(request: Request) -> Address:
    """Return the address of the client of a request that no hook has got yet."""
    try:
        return address_of(request, request.getpeername())
    except OSError:
        return MemoryAddress("unknown")  # it has disconnected


def address_of_listener(server: Server) -> Address:
    """Return the address at which a server listens."""
    return local_of(getattr(server, "socket", None))


def local_of(request: object) -> Address:
    """Return the address that a request came to."""
    sock = _socket_of(request)
    try:
        return from_sockaddr(sock.family, sock.type, sock.getsockname())
    except _NO_ADDRESS:
        return MemoryAddress("unknown")
