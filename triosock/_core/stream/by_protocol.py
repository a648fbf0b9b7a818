"""Handlers by protocol: ALPN chooses the handler of a connection in its TLS handshake (RFC 7301).

The rule: **a client is served by the handler of the protocol that both have agreed on, and by no other.** The
server offers the keys of the mapping, in its order, which is the order of its preference. A client that has
agreed on none (without ALPN, or with none of these protocols) is served by the handler under the key None;
without that handler, the handshake has failed.

RFC 7301 asks for an alert in the middle of the handshake in that case. The ssl module cannot send it, so the
connection is closed properly after the handshake, and no handler is called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, final

import attrs

from ..model.errors import HandshakeFailed
from ..server.arguments import check_async
from ..transport.certificates import Certificates
from ..transport.tls import ServerTls, TlsInfo
from .connection import Connection

Handler: TypeAlias = Callable[[Connection], Awaitable[object]]
#: What `serve_*` takes: one handler, or one for each protocol.
Handlers: TypeAlias = Handler | Mapping[str, Handler] | Mapping[str | None, Handler]


@final
@attrs.frozen
class HandlersByProtocol:
    """Several handlers, of which the handshake chooses one."""

    handlers: Mapping[str | None, Handler]
    tls: ServerTls

    @property
    def protocols(self) -> list[str]:
        """What is offered, the preferred one first."""
        return [protocol for protocol in self.handlers if protocol is not None]

    async def __call__(self, connection: Connection) -> None:
        """Serve with the handler that was chosen."""
        await self.choose(connection.tls)(connection)

    def choose(self, tls: TlsInfo | None) -> Handler:
        """Return the handler for the agreed protocol. Raises: HandshakeFailed if there is none."""
        agreed = tls.alpn if tls is not None else None
        handler = self.handlers.get(agreed)
        if handler is None:
            offered = ", ".join(self.protocols)
            raise HandshakeFailed(f"the client agreed on none of the protocols that were offered: {offered}")
        return handler


def check_handlers(handlers: Handlers, tls: ServerTls | None) -> Handler:
    """Return what calls the handler, or one of the handlers by protocol, which `offering` has `tls` offer.

    Raises: TypeError, ValueError, which say what is wrong.
    """
    if not isinstance(handlers, Mapping):
        return check_async("handler", handlers, "one connection", count=1)
    if tls is None:
        raise ValueError("handlers by protocol need tls=…: the protocol is agreed on in its handshake")
    by_protocol: dict[str | None, Handler] = {}
    for protocol, one in handlers.items():
        by_protocol[protocol] = check_async(f"the handler of {protocol!r}", one, "one connection", count=1)
        if protocol is not None:
            check_protocol(protocol)
    several = HandlersByProtocol(by_protocol, tls)
    if not several.protocols:
        raise ValueError("handlers by protocol must be at least one for a protocol, such as 'http/1.1'")
    if isinstance(tls, Certificates):
        tls.check_offer(several.protocols)
    else:
        tls.set_alpn_protocols(several.protocols)
    return several


def offering(handler: Handler) -> contextlib.AbstractContextManager[None]:
    """Have the certificates of a server with handlers by protocol offer these, for the length of a block.

    Raises: ValueError if they offer others for another server.
    """
    if isinstance(handler, HandlersByProtocol) and isinstance(handler.tls, Certificates):
        return handler.tls.offering(handler.protocols)
    return contextlib.nullcontext()


def check_protocol(protocol: object) -> None:
    """Raise TypeError or ValueError if this is no name of a protocol, as ALPN has it."""
    if not isinstance(protocol, str):
        raise TypeError(f"a protocol is a str as ALPN has it, such as 'h2', or None, not {protocol!r}")
    if not protocol.isascii() or not 0 < len(protocol) < 256:
        raise ValueError(f"a protocol is 1 to 255 ASCII characters (RFC 7301), not {protocol!r}")
