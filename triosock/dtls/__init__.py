"""DTLS servers: TLS for datagrams, by `trio.DTLSEndpoint`. Needs the extra `dtls` (pyOpenSSL).

    context = SSL.Context(SSL.DTLS_METHOD)      # from OpenSSL
    context.use_certificate_chain_file("cert.pem")
    context.use_privatekey_file("key.pem")
    await triosock.dtls.serve_dtls(handler, 4433, context=context)

trio implements the protocol. This package adds limits, deadlines, events, drains and reports, the same as for
streams, since a DTLS association is a connection with a handshake.

The invariants:

1. **An association is in the registry from its first valid ClientHello to the end of its task.** A
   ClientHello without a valid cookie costs nothing and is not counted, since its address may be forged.
2. **The sockets are closed last**: when the registry is empty, or when everything is cancelled.
3. **The system task in which trio's endpoint receives has ended when `serve_dtls` returns**: see
   `_Socket.wait_left`.
"""

# With the facade come the observers that are there by default.
from triosock import __version__ as _version  # noqa: F401

from .server import DtlsServer as DtlsServer
from .server import serve_dtls as serve_dtls
from .session import DtlsSession as DtlsSession

__all__ = ["DtlsServer", "DtlsSession", "serve_dtls"]
