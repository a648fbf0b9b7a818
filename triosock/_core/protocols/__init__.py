"""What bytes mean: framing, and the PROXY protocol's headers.

May import: model.

The invariant: these are functions over bytes that have come. They do no I/O, wait for nothing, and hold at
most the bytes that their limits name.
"""
