"""What exists at this moment, as a tree of values: servers, connections, scopes.

May import: model, registry, server, datagram. Nothing else of the core imports it.

The invariant: looking changes nothing.
"""
