"""What lives at this moment, as a tree of values.

May import: model, registry, server, datagram. Nothing else of the core imports it.

The invariant: looking changes nothing.
"""
