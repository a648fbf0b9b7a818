"""Servers of streams: the connection a handler is given, the task that serves it, the server, `serve_*`.

May import: model, protocols, registry, transport, listeners, server.

The invariant: one connection is one task in the server's nursery; its socket is closed when that task ends.
"""
