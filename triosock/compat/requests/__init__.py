"""Who is being served by a compat server, and what the rooms above hand in.

    table    a record for each request, put down and taken off by its own thread
    ports    the Protocols of what `bridge`, `control` and `green` make for those below
    clock    the clock of the records, which no program stops

May import: nothing of compat. Nothing here imports trio: a forking server pays for each page with every fork.

The invariant: a request costs two operations on a dict; no lock, and no hop to another thread.
"""
