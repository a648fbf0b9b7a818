"""The registry of what is served, its deadlines, its rates, and drains.

May import: model.

The invariant: what is registered is what is served. An entry is added in the synchronous step in which the
server takes its socket, and removed in the one in which it is closed; limits, deadlines, drains and reports
are computed from the registry and stored nowhere else.
"""
