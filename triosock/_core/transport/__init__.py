"""What carries bytes: sockets, any stream of trio's, TLS over either.

May import: model, registry (deadlines are noted on a registration).

The invariant: a cancelled receive has taken nothing, a cancelled send is remembered, and every call is a
checkpoint, or says when it is not.
"""
