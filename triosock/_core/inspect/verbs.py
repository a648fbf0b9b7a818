"""What may be done to the servers of this run from outside: drain, suspend, resume, cut one connection.

Rule: each verb is one that a server has anyway, and says what it has done in a sentence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from ..model.events import Cause
from ..registry.drain_scope import DrainScope
from .snapshot import _all_roots


def servers(hidden: Collection[str] = ()) -> Iterator[Any]:
    """Return all servers of this trio run, but for those with a name in `hidden`."""

    def below(scope: DrainScope) -> Iterator[Any]:
        if scope._owner is not None and scope._owner.name not in hidden:
            yield scope._owner
        for child in scope._children:
            yield from below(child)

    for root in tuple(_all_roots()):
        yield from tuple(below(root))


def drain_all(hidden: Collection[str] = ()) -> str:
    """Drain all servers."""
    return _each(servers(hidden), "drain", "drain")


def suspend_all(hidden: Collection[str] = ()) -> str:
    """Accept nothing any more, until resumed. Datagram servers have no such state."""
    return _each(servers(hidden), "suspend", "are suspended")


def resume_all(hidden: Collection[str] = ()) -> str:
    """Accept again."""
    return _each(servers(hidden), "resume", "accept again")


def _each(found: Iterator[Any], verb: str, done: str) -> str:
    names = []
    for server in found:
        if hasattr(server, verb):
            getattr(server, verb)()
            names.append(server.name)
    return f"{', '.join(names) or 'no servers'} {done}"


def cut_connection(number: int, server: str | None = None, hidden: Collection[str] = ()) -> str:
    """End one connection at once, by its number, and the name of its server if several have that number.

    Raises: ValueError if there is none, or more than one.
    """
    found = [
        (one, entry)
        for one in servers(hidden)
        if server is None or one.name == server
        for entry in one._registry.entries()
        if entry.number == number
    ]
    if len(found) != 1:
        among = "" if server is None else f" of {server}"
        raise ValueError(f"there are {len(found)} connections with the number {number}{among}")
    (owner, entry), *_ = found
    peer = entry.peer
    entry.cut(Cause.PARENT)
    return f"connection {number} of {owner.name}, from {peer}, is cut"
