"""The PROXY header before a green request, if its server's policy wants one: read by the core's own parser.

The invariant: **no byte after the header is read.** The parser says how many bytes it needs, and they are
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
    """Read the header that is due; return whether the request is to be handled, and the client's address.

    It is not if the peer is refused, sends something else, or sends nothing for `TIMEOUT` seconds. A
    checkpoint, unless no header is due.
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
