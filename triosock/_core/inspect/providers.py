"""Providers of nodes for servers outside any trio run (compat): `snapshot` calls them.

A file of its own, so that a provider can register without importing the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..model.node import Node

#: Those who know of servers that are in no trio run: given the server to look for (None for all) and the
#: limit, they yield nodes. May be called from any thread.
elsewhere: list[Callable[[object, int], Iterable[Node]]] = []
