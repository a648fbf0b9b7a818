"""The live tree as text: servers, connections, requests, each with its state, age and deadline.

    triosock.observe.tree()            # everything in this trio run, to stderr
    triosock.observe.tree(server)      # one server
    triosock.observe.snapshot()        # the same as frozen values

The text is a pure function of the values that `triosock._core.inspect.snapshot` returns.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final, TextIO

from .._core.inspect.snapshot import LIMIT, Node, snapshot
from .text import count, duration, printable

#: The beginning of the line of a child, and of the lines below it: for all but the last child, and for the
#: last.
_BRANCH: Final = (("├─ ", "│  "), ("└─ ", "   "))


def tree(what: object = None, *, limit: int = LIMIT, file: TextIO | None = None) -> None:
    """Print the live tree: scopes, servers, listeners, connections, requests, and threads of compat handlers.

    Args: `what`, a server or a `DrainScope`; None for everything in this trio run, and the compat servers
    that threads of this process serve; `limit`, the number of connections of each server to show, from 0 on,
    the oldest first; `file`, an open text file, None for stderr.

    Raises: TypeError, ValueError for wrong arguments; RuntimeError outside of a trio run, unless there are
    compat servers to show. Synchronous, and changes nothing: it may be called in any handler, and in a
    debugger.
    """
    print(format_tree(snapshot(what, limit=limit)), file=sys.stderr if file is None else file)


def format_tree(node: Node) -> str:
    """Return the text of a snapshot, one line for each node."""
    return "\n".join(start + text for start, _, text in tree_lines(node))


def tree_lines(node: Node, head: str = "", below: str = "") -> Iterator[tuple[str, Node | None, str]]:
    """Yield the lines of a tree, each as the drawn branches, the node (None for "… and 3 more"), and its
    description.
    """
    yield head, node, describe(node)
    last = len(node.children) + bool(node.more) - 1
    for number, child in enumerate(node.children):
        start, under = _BRANCH[number == last]
        yield from tree_lines(child, below + start, below + under)
    if node.more:
        yield below + _BRANCH[True][0], None, f"… and {count(node.more, 'more', 'more')}"


def describe(node: Node) -> str:
    """Return the description of one node, in one line of printable characters."""
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
