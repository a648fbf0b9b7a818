"""The live tree at this moment, as frozen values: scopes, servers, listeners, connections, requests, threads.

    run ┬─ scope ┬─ server ┬─ listener
        │        │         └─ connection ── request
        │        └─ server …
        └─ server …

Each scope and each server describes itself (`registry/description.py` has the rules); this file collects the
nodes.
"""

from __future__ import annotations

import os
from typing import Final

import trio

from ..model.checks import check_int
from ..model.node import Node as Node
from ..registry.description import SnapshotOptions
from ..registry.drain_scope import DrainScope, describe_scope, outermost_scopes
from ..server.base_server import Server
from .providers import elsewhere

#: Connections of one server that a snapshot describes; more of them are counted.
LIMIT: Final = 200


def snapshot(what: object = None, *, limit: int = LIMIT) -> Node:
    """Return the live tree as values.

    Args: `what`, a server or a `DrainScope`; None for everything in this trio run, and the compat servers
    that threads of this process serve; `limit`, the number of connections of each server to describe, from 0
    on, the oldest first.

    Raises: TypeError, ValueError for wrong arguments; RuntimeError outside of a trio run, unless there are
    compat servers to describe. Synchronous; it looks once at each connection.
    """
    check_int(limit, "limit", least=0)
    others: tuple[Node, ...] = tuple(node for look in elsewhere for node in look(what, limit))
    if others and what is not None:
        return others[0]
    if others and not trio.lowlevel.in_trio_run():
        return Node(kind="run", name=f"process {os.getpid()}", children=others)
    look = SnapshotOptions(trio.current_time(), limit)
    if what is None:
        # Scopes of the user first; servers in no scope, such as that of a control socket, last.
        roots = sorted(outermost_scopes(), key=lambda scope: scope.owner is not None)
        inside = tuple(describe_scope(scope, look) for scope in roots)
        return Node(kind="run", name=f"process {os.getpid()}", children=(*inside, *others))
    if isinstance(what, DrainScope):
        return describe_scope(what, look)
    if isinstance(what, Server):
        return what.describe(look)
    raise TypeError(f"a tree is drawn of a server or a DrainScope, or of everything (None), not of {what!r}")
