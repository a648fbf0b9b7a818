"""Servers of datagrams: sockets, the receive queue, dispatch per datagram, sessions per peer, `serve_*`.

May import: model, registry, transport, listeners, server.

The invariant: every datagram received is handled, or dropped for one counted reason.
"""
