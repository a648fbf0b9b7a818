"""Reads the PROXY header before a green request, if the policy of its server demands one, with the core's
parser.

The invariant: **no byte after the header is read.** The parser asks for a number of bytes, and not more are
read from the kernel, below TLS.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from triosock import MemoryAddress, PeerError
from triosock.compat.bridge.addresses import address_of
from triosock.compat.stdlib.deferred_tls import TIMEOUT

from .tasks import wait_readable

if TYPE_CHECKING:
    from triosock import ProxyPolicy
    from triosock.compat.requests.signatures import ClientAddress

_recv = socket.socket.recv


async def read_client_address(
    proxy: ProxyPolicy, request: socket.socket, client_address: ClientAddress
) -> tuple[bool, ClientAddress]:
    """Read the header, if the policy demands one of this peer; return whether the request is handled, and the
    client's address.

    It is not handled if the policy refuses the peer, or if the header is malformed or not complete within
    `TIMEOUT` seconds. A checkpoint, unless no header is demanded.
    """

    async def receive(size: int) -> bytes:
        while True:
            try:
                return _recv(request, size, socket.MSG_DONTWAIT)
            except BlockingIOError:
                await wait_readable(request)

    try:
        with trio.fail_after(TIMEOUT):
            header = await proxy.admit(address_of(request, client_address), receive)
    except (PeerError, OSError, trio.TooSlowError):
        return False, client_address
    if header is None or header.source is None or isinstance(header.source, MemoryAddress):
        return True, client_address
    return True, header.source.sockaddr
