"""The table of the requests of a compat server, and the port to the packages above.

    table       a record for each request, added and removed by its own thread
    handshakes  the handshakes in progress, of requests that no handler has yet
    tracking    how much work a request needs besides its record
    ports       the Protocols that `bridge`, `control` and `green` implement
    signatures  the types of the arguments of hooks
    clock       the clock of the records, which libraries that freeze time do not replace

May import: nothing of compat. Nothing here imports trio: every fork copies the pages of a forking server.

The invariant: a request costs two operations on a dict, without a lock and without a switch to another
thread.
"""
