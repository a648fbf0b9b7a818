"""Listeners: opening sockets, taking inherited ones, Unix socket files, the accept loop.

May import: model, registry.

The invariant: an accepted socket belongs to exactly one owner, or is closed (`stream/server.py` takes it over
from the accept loop); a socket file is removed by the process that made it, and by no other.
"""
