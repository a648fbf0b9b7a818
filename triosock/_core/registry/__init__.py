"""Who is being served, until when, and what a drain does about it.

May import: model.

The invariant: what is registered is what is served. An entry is added in the same synchronous step in which
its socket becomes ours, and removed in the one in which it is closed; limits, deadlines, drains and reports
are read off the registry and kept nowhere else.
"""
