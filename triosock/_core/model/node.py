"""A tree of what lives, as a value: what `snapshot` returns and the control socket sends.

Rule: texts are raw; code that displays them makes them printable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import attrs


@final
@attrs.frozen(kw_only=True)
class Node:
    """Something that lives, and what lives in it.

    `kind` is "run", "scope", "server", "listener", "connection", "session", "datagram", "request", "thread"
    or "process". `age` and `due` are in seconds: since it began, and until its effective deadline (below 0 if
    that is over; None if there is none), which comes from `due_to`. `state` of a connection: queued,
    handshake, idle, reading, sending, working or closing. `where` is the place in the program in which its
    handler is. `more` counts the connections of a server that are not among the `children`.
    """

    kind: str
    name: str = ""
    state: str = ""
    peer: str = ""
    age: float | None = None
    due: float | None = None
    due_to: str = ""
    where: str = ""
    counts: tuple[tuple[str, int], ...] = ()
    more: int = 0
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Return all nodes, this one first."""
        yield self
        for child in self.children:
            yield from child.walk()
