"""The table of the requests of a compat server, and the port for what the packages above provide.

    table    a record for each request, added and removed by its own thread
    ports    the Protocols of what `bridge`, `control` and `green` provide
    clock    the clock of the records, which time-freezing libraries do not replace

May import: nothing of compat. Nothing here imports trio: every fork copies the pages of a forking server.

The invariant: a request costs two operations on a dict; no lock, and no hop to another thread.
"""
