"""Who else serves in this process, outside of any trio run: whoever does is asked when somebody looks.

It is a file of its own because those who can tell must not import the rest only to say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..model.node import Node

#: Those who know of servers that are in no trio run: given the server to look for (None for all) and the
#: limit, they yield nodes. May be called from any thread.
elsewhere: list[Callable[[object, int], Iterable[Node]]] = []
