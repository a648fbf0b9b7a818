"""Makes the green socket of a request: a stream socket, a datagram socket, or an SSLSocket."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from .socket import GreenDatagramSocket, take_over
from .tls import make_green_tls

if TYPE_CHECKING:
    from triosock.compat.requests.signatures import Request


def make_green(request: Request) -> Request:
    """Return the green socket for a request. An object that is no socket of the standard library is returned
    unchanged.
    """
    kind = type(request)
    if kind is socket.socket:
        return take_over(request)
    if kind is tuple and len(request) == 2 and type(request[1]) is socket.socket:
        return request[0], GreenDatagramSocket.of(request[1])
    if kind is ssl.SSLSocket:
        return make_green_tls(request)
    return request
