"""What servers of streams and of datagrams have in common: checks of arguments, the life of a server, and one
run of a handler.

May import: model, registry, transport, listeners.

The invariant: every run of a handler ends with its entry removed from the registry, counted, and reported to
observers.
"""
