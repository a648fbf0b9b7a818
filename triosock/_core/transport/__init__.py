"""Wires, which carry bytes: over sockets, over any trio stream, and TLS over either.

May import: model, registry (a wire notes in its entry when a wait begins).

The invariant: a cancelled receive has taken nothing, a send that was cancelled half-way makes later ones
raise, and every async method is a checkpoint unless its docstring says otherwise.
"""
