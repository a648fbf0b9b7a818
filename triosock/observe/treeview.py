"""The living tree as text: servers, connections, requests, each with its state, age and deadline.

    triosock.observe.tree()            # of everything in this trio run, to stderr
    triosock.observe.tree(server)      # of one server
    triosock.observe.snapshot()        # the same as frozen values

The values come first (`triosock._core.inspect.snapshot`); the text is a pure function of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final, TextIO

from .._core.inspect.snapshot import LIMIT, Node, snapshot
from .text import count, duration, printable

#: How a line begins: inside, the last child, and what goes on below each of them.
_BRANCH: Final = (("├─ ", "│  "), ("└─ ", "   "))


def tree(what: object = None, *, limit: int = LIMIT, file: TextIO | None = None) -> None:
    """Print what lives now: scopes, servers, listeners, connections, requests, and threads of compat
    handlers.

    Args: `what`, a server or a `DrainScope`; None for everything in this trio run, and the compat servers
    that threads of this process serve. `limit`, how many connections of each server to show, the oldest
    first. `file`, None for stderr.

    Raises: TypeError; RuntimeError outside of a trio run, unless there are compat servers to be shown.
    Synchronous, and changes nothing: may be called in any handler, and from a debugger.
    """
    print(format_tree(snapshot(what, limit=limit)), file=sys.stderr if file is None else file)


def format_tree(node: Node) -> str:
    """Return the text of a snapshot: one line for each node."""
    return "\n".join(start + text for start, _, text in tree_lines(node))


def tree_lines(node: Node, head: str = "", below: str = "") -> Iterator[tuple[str, Node | None, str]]:
    """Return the lines of a tree: the drawn branches, the node (None for "and more"), and what is said of
    it.
    """
    yield head, node, describe(node)
    last = len(node.children) + bool(node.more) - 1
    for number, child in enumerate(node.children):
        start, under = _BRANCH[number == last]
        yield from tree_lines(child, below + start, below + under)
    if node.more:
        yield below + _BRANCH[True][0], None, f"… and {count(node.more, 'more', 'more')}"


def describe(node: Node) -> str:
    """Return what is said of one node, in one line of printable characters."""
    said = " ".join(filter(None, (printable(node.kind), printable(node.name))))
    if node.peer:
        said += f" of {printable(node.peer)}"
    facts = [printable(node.state)]
    if node.age is not None:
        facts.append(duration(node.age))
    facts += [f"{number:,} {printable(what)}" for what, number in node.counts if number or what == "active"]
    if node.due is not None:
        when = f"due in {duration(node.due)}" if node.due >= 0 else f"overdue for {duration(-node.due)}"
        facts.append(f"{when} ({printable(node.due_to)})")
    if node.where:
        facts.append(f"at {printable(node.where)}")
    return " · ".join([said, *filter(None, facts)])
