"""Parsers without I/O: framing, and the headers of the PROXY protocol.

May import: model.

The invariant: these are functions over received bytes. They do no I/O, never wait, and hold at most the bytes
that their limits name.
"""
