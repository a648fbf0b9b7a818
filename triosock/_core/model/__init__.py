"""The values that everything else speaks of: errors, addresses, configuration, events, peer credentials.

May import: nothing of this library.

The invariant: values are frozen and checked when they are made, and nothing here does I/O.
"""
