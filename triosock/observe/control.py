"""The control socket: a Unix socket at which a running program shows its live tree, for the commands
`triosock top` and `triosock tell`.

The protocol is lines of JSON. The answer to a request is one line, which may be ``{"error": "…"}``:

- ``{"want": "tree", "limit": 200}``: ``{"tree": {…}}``, the snapshot, with `limit` connections of each
  server at most;
- ``{"want": "metrics"}``: ``{"metrics": "…"}``, the text of prometheus_client;
- ``{"want": "ready"}``: ``{"not_ready": […]}``, the reasons why this process should get no more clients;
- ``{"want": "events"}``, with ``"kinds": ["ConnectionClosed", …]`` for some only: the line
  ``{"event": "EventsFollow", …}``, and then a line for each event of any server, until the reader hangs up;
- if verbs are allowed, ``{"do": "drain"}``, "suspend", "resume", or ``{"do": "cut", "connection": 7}``, with
  ``"server": "…"`` if several servers have a connection of that number: ``{"done": "…"}``.

A parent of workers speaks the same protocol for all of them.

The rules:

1. **It is off by default**: nothing here runs before `serve_control()`.
2. **Only the user that this process runs as gets an answer**, which two checks ensure: the socket file has
   mode 0600, and a peer with another user id (SO_PEERCRED), root included, gets the end of the stream.
3. It is a `StreamServer` with limits and timeouts, and is in the tree itself.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, TypeAlias, TypeGuard

import attrs
import trio

from .._core.inspect.readiness import why_not_ready
from .._core.inspect.snapshot import LIMIT, Node, snapshot
from .._core.inspect.verbs import cut_connection, drain_all, resume_all, servers, suspend_all
from .._core.listeners.listener import Listener
from .._core.listeners.unix import open_unix_listener
from .._core.model import events
from .._core.model.checks import is_int, is_number
from .._core.model.config import Limits, Timeouts
from .._core.model.options import explained
from .._core.registry.drain_report import DrainReport
from .._core.stream.connection import Connection
from .._core.stream.serve import serve_listeners
from .._core.stream.server import StreamServer
from .event_stream import EventStream
from .text import printable

NAME: Final = "triosock control"
#: Servers for the program's own operation: verbs do not reach them, and they do not count for readiness.
HIDDEN: Final = (NAME, "triosock health")
#: A few clients at a time; one that stops reading is cut after five seconds.
LIMITS: Final = Limits(max_connections=16, overflow="reject")
TIMEOUTS: Final = Timeouts(idle=300, send=5, request=10, grace=0)
#: Events by their names.
EVENTS: Final = {
    name: kind
    for name, kind in vars(events).items()
    if isinstance(kind, type) and issubclass(kind, events.Event)
}
#: The longest request.
MAX_REQUEST: Final = 1_000
#: How deep an answer may be nested; a tree has a level for each scope around a server, and five more.
MAX_DEPTH: Final = 100
#: The longest time in an answer (30,000 years).
MAX_SECONDS: Final = 1e12
#: JSON numbers may have thousands of digits; a count fits into 64 bits.
MAX_NUMBER: Final = 2**63


#: A JSON object from a client, which is not checked yet, and the answer to it.
Request: TypeAlias = Mapping[str, object]
Reply: TypeAlias = Mapping[str, object]

#: The answer to a verb where none is allowed.
NO_VERBS: Final[Reply] = {
    "error": "verbs are not allowed at this control socket: the program must allow them, by "
    "serve_control(…, verbs=True), or by --control-verbs with --workers"
}


@explained
async def serve_control(
    path: str | os.PathLike[str],
    *,
    verbs: bool = False,
    task_status: trio.TaskStatus[StreamServer] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Serve the live tree of this trio run at a Unix socket, for the user that this process runs as and
    ``python -m triosock top PATH``.

    Args: `path` of the socket file, which has mode 0600 and is removed when this returns; `verbs`, whether
    that user may also drain, suspend and resume all servers, and cut a connection.

    Returns: the `DrainReport`, after a drain. `nursery.start` gives the `StreamServer`, as with `serve_unix`.

    Raises: as `serve_unix`. Cancellation: it ends at once. Drain: it ends at once, since its grace period is
    0; to watch a drain, start it outside of the `DrainScope`, as ``triosock.run(…, control=path)`` does.
    """

    async def reply(request: Request) -> Reply:
        if "do" in request:
            return _do(request) if verbs else NO_VERBS
        return _show(request)

    listener = open_unix_listener(path, mode=0o600)
    return await serve_replies(listener, reply, _stream_own, task_status=task_status)


async def _stream_own(conn: Connection, kinds: Collection[str] | None) -> None:
    emitters = [server.observers for server in servers(HIDDEN)]
    wanted = None if kinds is None else [EVENTS[name] for name in kinds]
    with EventStream(wanted, NAME).listening(emitters) as stream:
        await send_stream(conn, stream)


async def send_stream(conn: Connection, stream: EventStream) -> None:
    """Send the events of a stream until the reader hangs up."""
    conn.set_timeouts(request=math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_all_of, conn, stream)
        await conn.wait_peer_gone()
        nursery.cancel_scope.cancel(reason="triosock: the reader of events has hung up")


async def _send_all_of(conn: Connection, stream: EventStream) -> None:
    while True:
        await conn.send_all(await stream.receive())


async def serve_replies(
    listener: Listener,
    reply: Callable[[Request], Awaitable[Reply]],
    stream: Callable[[Connection, Collection[str] | None], Awaitable[None]],
    *,
    limits: Limits = LIMITS,
    task_status: trio.TaskStatus[StreamServer] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Answer each request, a JSON object in a line, with the object that `reply` returns; for a request for
    events call `stream`, which sends them. Only the user that this process runs as gets an answer.
    """

    async def answer(conn: Connection) -> None:
        if conn.credentials().uid != os.geteuid():
            return
        async for line in conn.lines(max_bytes=MAX_REQUEST):
            request = _parse(line)
            if request is None:
                answered: Reply = {"error": "a request is a JSON object in one line"}
            elif request.get("want") != "events":
                # Only its arrival is bounded: a restart has ended when its last worker was replaced.
                conn.set_timeouts(request=math.inf)
                answered = await reply(request)
            elif _are_kinds(kinds := request.get("kinds")):
                return await stream(conn, kinds)
            else:
                answered = {"error": "kinds is a list of names of events, such as ConnectionClosed"}
            await conn.send_all(json.dumps(answered).encode() + b"\n")
            conn.set_timeouts(request=TIMEOUTS.request)  # for the next one

    return await serve_listeners(
        answer, [listener], limits=limits, timeouts=TIMEOUTS, name=NAME, task_status=task_status
    )


def _parse(line: bytes) -> Request | None:
    """Return the request in a line, an empty one for JSON that is no object; None if it is no JSON."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):  # the second is for lists in lists
        return None
    return request if isinstance(request, dict) else {}


def _are_kinds(kinds: object) -> TypeGuard[list[str] | None]:
    # A list or an object in the list could not even be looked up.
    return kinds is None or (
        isinstance(kinds, list) and all(isinstance(one, str) and one in EVENTS for one in kinds)
    )


def _do(request: Request) -> Reply:
    try:
        match request:
            case {"do": "drain"}:
                return {"done": drain_all(HIDDEN)}
            case {"do": "suspend"}:
                return {"done": suspend_all(HIDDEN)}
            case {"do": "resume"}:
                return {"done": resume_all(HIDDEN)}
            case {"do": "cut", "connection": int(number)}:
                server = request.get("server")
                return {"done": cut_connection(number, None if server is None else str(server), HIDDEN)}
    except ValueError as error:
        return {"error": str(error)}
    return {"error": 'do is "drain", "suspend", "resume", or "cut" with a "connection" (and a "server")'}


def _show(request: Request) -> Reply:
    if request.get("want") == "metrics":
        return _metrics()
    if request.get("want") == "ready":
        return {"not_ready": list(why_not_ready(HIDDEN))}
    limit = limit_of(request)
    return limit if isinstance(limit, dict) else {"tree": attrs.asdict(snapshot(limit=limit))}


def limit_of(request: Request) -> int | dict[str, object]:
    """Return the limit of a request for the tree, or the answer to a request that is none."""
    if request.get("want") != "tree":
        return {"error": 'the only request is {"want": "tree", "limit": N}, "metrics", "ready" or "events"'}
    limit = request.get("limit", LIMIT)
    if not is_int(limit) or not 0 <= limit <= 10_000:
        return {"error": "limit must be an int from 0 to 10000"}
    return limit


def _metrics() -> Reply:
    """Return the text of all metrics that the program has registered with prometheus_client, if it uses that;
    nothing is imported here.
    """
    client = sys.modules.get("prometheus_client")
    if client is None:
        return {"error": "this program does not use prometheus_client"}
    return {"metrics": client.generate_latest().decode()}


def parse_tree(line: bytes | str) -> Node:
    """Return the snapshot in an answer. Raises: ValueError, with a text of one line, for any other line: the
    process that answers is not trusted.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(f"the answer is no JSON: {printable(error)}") from None
    if not isinstance(message, dict):
        raise ValueError("the answer is no JSON object")
    if "error" in message:
        raise ValueError(f"the answer is an error: {printable(message['error'])}")
    return node_of(message.get("tree"))


def node_of(fields: object) -> Node:
    """Return the node that has these fields. Raises: ValueError for any other value."""
    return _node(fields, 0)


def _node(fields: object, depth: int) -> Node:
    if not isinstance(fields, dict) or depth > MAX_DEPTH or not _FIELDS.keys() <= fields.keys() <= _ALL:
        raise ValueError("the answer is no tree")
    for name, is_right in _FIELDS.items():
        if not is_right(fields[name]):
            raise ValueError(f"the answer is no tree: {name} is {printable(fields[name])}")
    values = {name: fields[name] for name in _FIELDS if name not in ("counts", "children")}
    return Node(
        **values,
        counts=tuple((name, number) for name, number in fields["counts"]),
        children=tuple(_node(child, depth + 1) for child in fields["children"]),
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_time(value: object) -> bool:
    # A JSON number may be NaN, infinite, or an int too large for a float.
    return value is None or (is_number(value) and abs(value) < MAX_SECONDS)


def _is_number(value: object) -> bool:
    return type(value) is int and abs(value) < MAX_NUMBER


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and _is_text(one[0]) and _is_number(one[1]) for one in value
    )


def _is_list(value: object) -> bool:
    return isinstance(value, list)


#: What each field of a node must be.
_FIELDS: Final[dict[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("kind", "name", "state", "peer", "due_to", "where"), _is_text),
    **dict.fromkeys(("age", "due"), _is_time),
    "counts": _are_counts,
    "more": _is_number,
    "children": _is_list,
}
_ALL: Final = frozenset(field.name for field in attrs.fields(Node))
