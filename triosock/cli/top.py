"""`python -m triosock top SOCKET`, or `--pid N`: shows the live tree of a running program repeatedly.

For a socket, the program must run as the same user, and have been started with
``triosock.run(…, control="SOCKET")``, or call `serve_control`. Any other process is inspected by its pid: see
`processes.py`. With `rich` (the extra ``cli``) the view is redrawn in place and in colours; without it, or if
the output is no terminal, each snapshot is printed below the last one.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs
import trio

from .. import Connection, FrameTooLarge
from .._core.model.node import Node
from ..observe.control import parse_tree
from ..observe.text import count, duration, printable
from ..observe.treeview import format_tree, tree_lines
from .arguments import Commands, OperatingSystemError, UsageError
from .output import say
from .processes import ProcessEnded, inspect_process

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

#: The maximum of bytes in an answer: enough for the largest snapshot that can be requested.
MAX_ANSWER: Final = 64 * 2**20
_STYLES: Final = {
    "idle": "dim",
    "working": "bold blue",
    "reading": "cyan",
    "sending": "magenta",
    "handshake": "green",
    "closing": "dim",
    "queued": "yellow",
    "draining": "bold yellow",
    "suspended": "yellow",
    "closed": "dim",
}
Show = Callable[[Node], None]


def add_parser(commands: Commands) -> None:
    """Add `top` and its arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "top",
        help="show the live tree of a running program",
        description="Show the live tree of a program that was started with "
        "triosock.run(…, control=SOCKET): servers, connections, requests, and their deadlines. "
        "With --pid, show any process with the same Python, 3.14 or later, or one with triosock.run or "
        "observe.allow_top: servers, the tasks of trio, and threads.",
        epilog="--pid needs the permission to attach: the same user, as far as "
        "/proc/sys/kernel/yama/ptrace_scope allows, or CAP_SYS_PTRACE. The process pauses for less than "
        "5 ms.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("socket", nargs="?", help="the path of its control socket")
    parser.add_argument("--pid", type=int, metavar="N", help="the pid of the process, instead of a socket")
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="the time between two snapshots (default 1)",
    )
    parser.add_argument("--once", action="store_true", help="print one snapshot, and exit")
    parser.add_argument("--plain", action="store_true", help="no colours and no redrawing")
    parser.add_argument(
        "--limit", type=_limit, default=50, metavar="N", help="connections shown of each server (default 50)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show snapshots until Ctrl-C, or until the program has ended; return the exit code."""
    if (arguments.socket is None) == (arguments.pid is None):
        raise UsageError("give either a control socket or a process, with --pid and its process id")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name may have characters that the encoding of the terminal does not have.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _view(arguments) as show:
            trio.run(_show_socket if arguments.pid is None else _show_process, arguments, show)
    except KeyboardInterrupt:
        return 0
    return 0


def _seconds(word: str) -> float:
    seconds = float(word)
    if not 0.05 <= seconds < math.inf:
        raise argparse.ArgumentTypeError("must be 0.05 s or more")
    return seconds


def _limit(word: str) -> int:
    limit = int(word)
    if not 0 <= limit <= 10_000:
        raise argparse.ArgumentTypeError("must be from 0 to 10000")
    return limit


async def _show_process(arguments: argparse.Namespace, show: Show) -> None:
    seen = False
    while True:
        try:
            inspection = await inspect_process(arguments.pid, arguments.limit)
        except ProcessEnded:
            if not seen:
                raise
            print("the program has ended", file=sys.stderr)
            return
        paused = f"paused for {duration(inspection.paused)}"
        show(attrs.evolve(inspection.tree, state=paused))
        seen = True
        if arguments.once:
            return
        await trio.sleep(arguments.interval)


async def _show_socket(arguments: argparse.Namespace, show: Show) -> None:
    try:
        stream = await trio.open_unix_socket(arguments.socket)
    except OSError as error:
        path = printable(arguments.socket)
        raise OperatingSystemError(f"cannot connect to {path}: {error.strerror or error}") from None
    async with Connection(stream) as conn:
        request = json.dumps({"want": "tree", "limit": arguments.limit}).encode() + b"\n"
        answers = conn.lines(max_bytes=MAX_ANSWER)
        seen = False
        while True:
            node = await _ask(conn, request, answers)
            if node is None and not seen:
                raise OperatingSystemError(
                    f"{printable(arguments.socket)} does not answer: it serves only its own user, "
                    "and a few connections at a time"
                )
            if node is None:
                print("the program has ended", file=sys.stderr)
                return
            show(node)
            seen = True
            if arguments.once:
                return
            await trio.sleep(arguments.interval)


async def _ask(conn: Connection, request: bytes, answers: AsyncIterator[bytes]) -> Node | None:
    """Return one snapshot; None if the program has ended."""
    try:
        await conn.send_all(request)
        async for answer in answers:
            return parse_tree(answer)
    except trio.BrokenResourceError:
        pass
    except (ValueError, FrameTooLarge) as error:
        raise OperatingSystemError(f"this is no control socket of triosock: {error}") from None
    return None


# Showing


@contextmanager
def _view(arguments: argparse.Namespace) -> Iterator[Show]:
    redrawn = not arguments.plain and not arguments.once and sys.stdout.isatty()
    live_class = _live() if redrawn else None
    if live_class is None:
        yield lambda node: say(_title(node), format_tree(node), end="\n\n")
        return
    with live_class(screen=True, auto_refresh=False) as live:
        yield lambda node: live.update(_render(node, live.console.height), refresh=True)


def _live() -> type[Live] | None:
    """Return rich's class that redraws a terminal, if rich is installed."""
    try:
        from rich.live import Live
    except ImportError:
        return None
    return Live


def _title(node: Node) -> str:
    servers = [one for one in node.walk() if one.kind == "server"]
    active = sum(number for one in servers for what, number in one.counts if what == "active")
    return f"{datetime.now():%H:%M:%S}  {count(len(servers), 'server')}, {active:,} active"


def _render(node: Node, height: int) -> Text:
    """Return the tree for a terminal of `height` lines; the last line gives the number of lines that do not
    fit.
    """
    from rich.text import Text

    lines = [(start, one, text) for start, one, text in tree_lines(node)]
    room = max(height - 2, 1)
    drawn = Text(no_wrap=True, overflow="ellipsis")
    drawn.append(f"triosock top  {_title(node)}  Ctrl-C ends\n", "bold reverse")
    for start, one, text in lines[: room if len(lines) <= room else room - 1]:
        drawn.append(start, "dim")
        style = "" if one is None else _STYLES.get(one.state, "bold" if one.kind == "server" else "")
        drawn.append(text + "\n", "red" if one is not None and one.due is not None and one.due < 0 else style)
    if len(lines) > room:
        drawn.append(
            f"… and {count(len(lines) - room + 1, 'more line')} (a higher terminal shows them)", "dim"
        )
    return drawn
