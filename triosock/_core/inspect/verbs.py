"""What may be done to the servers of this run from outside: drain, suspend, resume, cut one connection.

Rule: each verb is one that a server has anyway, and says what it has done in a sentence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..model.events import Cause
from ..registry.drain_scope import ScopeOwner, outermost_scopes, owners_in
from ..server.base_server import Server


def servers(hidden: Collection[str] = ()) -> Iterator[ScopeOwner]:
    """Return all servers of this trio run, but for those with a name in `hidden`."""
    for root in tuple(outermost_scopes()):
        for owner in tuple(owners_in(root)):
            if owner.name not in hidden:
                yield owner


def drain_all(hidden: Collection[str] = ()) -> str:
    """Drain all servers."""
    names = []
    for server in servers(hidden):
        server.drain()
        names.append(server.name)
    return _say(names, "drain")


def suspend_all(hidden: Collection[str] = ()) -> str:
    """Accept nothing any more, until resumed. Servers of compat have no such state."""
    names = []
    for server in _native_servers(hidden):
        server.suspend()
        names.append(server.name)
    return _say(names, "are suspended")


def resume_all(hidden: Collection[str] = ()) -> str:
    """Accept again."""
    names = []
    for server in _native_servers(hidden):
        server.resume()
        names.append(server.name)
    return _say(names, "accept again")


def _native_servers(hidden: Collection[str]) -> Iterator[Server[object]]:
    for server in servers(hidden):
        if isinstance(server, Server):
            yield server


def _say(names: list[str], done: str) -> str:
    return f"{', '.join(names) or 'no servers'} {done}"


def cut_connection(number: int, server: str | None = None, hidden: Collection[str] = ()) -> str:
    """End one connection at once, by its number, and the name of its server if several have that number.

    Raises: ValueError if there is none, or more than one.
    """
    found = [
        (one, entry)
        for one in servers(hidden)
        if server is None or one.name == server
        for entry in one.entries()
        if entry.number == number
    ]
    if len(found) != 1:
        among = "" if server is None else f" of {server}"
        raise ValueError(f"there are {len(found)} connections with the number {number}{among}")
    (owner, entry), *_ = found
    peer = entry.peer
    entry.cut(Cause.PARENT)
    return f"connection {number} of {owner.name}, from {peer}, is cut"
