"""Where connections come from: opening sockets, taking inherited ones, Unix socket files, the accept loop.

May import: model, registry.

The invariant: an accepted socket belongs to exactly one owner, or is closed; a socket file is removed by the
one who made it, and by nobody else.
"""
