"""The health port: answers whether this program runs, and whether it should get new clients. It speaks
HTTP/1.1 by h11 (the extra ``health``), for the probes of Kubernetes, HAProxy, and other HTTP clients.

    GET /live     200 as long as the event loop runs
    GET /ready    200, or 503 with the reasons, one in a line: see `inspect/readiness.py`

The rules:

1. **It answers as long as it is open, also in a drain**, when load balancers need the answer. So its server
   is in no `DrainScope`, and ends with its block.
2. **Clients are not trusted**: a connection has one request of at most 8 KiB, whose first byte must come
   within five seconds, and its last one within five more; there are at most 64 connections at once, and 16
   of one peer. A request that is not HTTP gets an error response, and the end of the stream.
3. **An answer is cheap**, so that probes do not overload a busy server: it looks once at each server.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from .._core.inspect.readiness import why_not_ready
from .._core.listeners.listener import Listener, open_tcp_listeners
from .._core.listeners.unix import open_unix_listener
from .._core.model.addresses import TcpAddress, UnixAddress, host_to_bind, parse_address
from .._core.model.config import Limits, Timeouts
from .._core.model.options import explained
from .._core.registry.drain_scope import leave_scopes, scope_around
from .._core.stream.connection import Connection
from .._core.stream.serve import serve_listeners
from .._core.stream.server import StreamServer
from .._extras import what_to_install
from .control import HIDDEN

if TYPE_CHECKING:
    import h11

NAME: Final = "triosock health"
LIMITS: Final = Limits(max_connections=64, max_connections_per_peer=16, overflow="reject")
TIMEOUTS: Final = Timeouts(idle=5, request=5, send=5, close=1, grace=0)
#: The longest head of a request; nginx takes as much (large_client_header_buffers).
MAX_HEAD: Final = 8_192

#: Returns the reasons for not being ready, one in a line; none if it is ready.
Ask = Callable[[], Awaitable[Sequence[str]]]


@explained
@contextlib.asynccontextmanager
async def open_health(endpoint: str | Listener, *, mode: int | None = None) -> AsyncIterator[StreamServer]:
    """Answer ``GET /live`` and ``GET /ready`` at `endpoint` for the length of the block.

    ``/ready`` is 200 if the trio run has a server, and no server drains (the delay of a drain counts), is
    suspended, or has reached its `Limits.max_connections` or the present value of its adaptive limit.
    Otherwise it is 503, and the text of the response has the reasons. Control sockets and health ports do not
    count as servers.

    Args: `endpoint`, ``tcp://HOST:PORT`` or ``unix:///PATH``, or an open listener, which is closed at the end
    of the block; `mode`, the permission bits of the socket file, for ``unix://`` only.

    Yields: the `StreamServer` that answers, for its `addresses`.

    Raises: AddressUnavailable if the address is in use, or the system refuses it; socket.gaierror for an
    unknown host; TypeError, ValueError; ImportError without h11. An exception of the block passes as it is,
    without a group. Cancellation: the port is closed at once. Drain: it goes on answering until the block
    ends.
    """
    listeners = await _open(endpoint, mode)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        server: StreamServer = await nursery.start(answer_at, listeners, _own)
        try:
            yield server
        except Exception as error:  # raised below, without the group of this nursery around it
            failure = error
        nursery.cancel_scope.cancel(reason="triosock: the block of open_health() has ended")
    if failure is not None:
        raise failure


@explained
async def serve_health(
    endpoint: str | Listener,
    *,
    mode: int | None = None,
    task_status: trio.TaskStatus[StreamServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer health checks as `open_health` does, in a task:
    ``await nursery.start(triosock.serve_health, "tcp://*:8081")``.

    Drain: it goes on answering in a drain of the surrounding `DrainScope` (`triosock.run` has one), and
    returns when the last server in that scope has ended. Without a surrounding scope it runs until cancelled.

    Args, raises: as `open_health`. `nursery.start` gives the `StreamServer` that answers.
    """
    scope = scope_around()
    async with open_health(endpoint, mode=mode) as server:
        task_status.started(server)
        if scope is None:
            await trio.sleep_forever()
        else:
            await scope.wait_begun()
            await scope.wait_left()


async def _own() -> Sequence[str]:
    return why_not_ready(HIDDEN)


async def _open(endpoint: str | Listener, mode: int | None) -> Sequence[Listener]:
    check_h11()
    if isinstance(endpoint, Listener):
        return [endpoint]
    if not isinstance(endpoint, str):
        raise TypeError(f"a health endpoint is tcp://HOST:PORT or unix:///PATH, not {endpoint!r}")
    return await open_endpoint(endpoint, mode)


async def open_endpoint(endpoint: str, mode: int | None = None) -> Sequence[Listener]:
    """Open the listeners of an endpoint ``tcp://…`` or ``unix://…``, and return them.

    Raises: ValueError, ImportError without h11; as `open_tcp_listeners` and `open_unix_listener`.
    """
    check_h11()
    address = check_endpoint(endpoint)
    if isinstance(address, UnixAddress):
        return [open_unix_listener(address.path, mode=mode)]
    if mode is not None:
        raise ValueError("mode is for the file of a unix:// address")
    return await open_tcp_listeners(address.port, host=host_to_bind(address))


def check_endpoint(endpoint: str) -> TcpAddress | UnixAddress:
    """Return the address of a health endpoint. Raises: ValueError."""
    address = parse_address(endpoint)
    if not isinstance(address, (TcpAddress, UnixAddress)):
        raise ValueError(f"a health endpoint is tcp://HOST:PORT or unix:///PATH, not {endpoint!r}")
    return address


def check_h11() -> None:
    """Raise ImportError if h11 is not installed; the text says what to install."""
    try:
        import h11  # noqa: F401
    except ImportError as error:
        raise ImportError(what_to_install("health", "health")) from error


async def answer_at(
    listeners: Sequence[Listener],
    ask: Ask,
    *,
    task_status: trio.TaskStatus[StreamServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer at these listeners until cancelled; ``/ready`` is 200 if `ask` returns no reasons."""
    leave_scopes()

    async def answer(conn: Connection) -> None:
        if await conn.wait_request():
            await _answer(conn, ask)

    await serve_listeners(
        answer, listeners, limits=LIMITS, timeouts=TIMEOUTS, name=NAME, task_status=task_status
    )


@attrs.frozen
class _Answer:
    """The answer to one request. Without `has_body` it has only the length (RFC 9110, 9.3.2)."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()
    has_body: bool = True


async def _answer(conn: Connection, ask: Ask) -> None:
    """Read one request, and answer it. The end of the handler ends the connection."""
    import h11

    # A head that is not complete with the last byte that there is room for is too long.
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD - 1)
    event: Any = h11.NEED_DATA
    room = MAX_HEAD
    try:
        while event is h11.NEED_DATA:
            data = await conn.receive_some(room)
            room -= len(data)
            http.receive_data(data)
            event = http.next_event()
    except h11.RemoteProtocolError as error:
        answer = _Answer(error.error_status_hint, "this is no request of HTTP")
    else:
        if not isinstance(event, h11.Request):
            return  # the client has closed before its request was complete
        answer = await _consider(event, ask)
    await conn.send_all(_format(http, answer))


async def _consider(request: h11.Request, ask: Ask) -> _Answer:
    path = _path_of(bytes(request.target))
    has_body = request.method != b"HEAD"
    if path not in (b"/live", b"/ready"):
        return _Answer(404, "there are /live and /ready", has_body=has_body)
    if request.method not in (b"GET", b"HEAD"):
        return _Answer(405, "only GET and HEAD", (("Allow", "GET, HEAD"),))
    if path == b"/live":
        return _Answer(200, "live", has_body=has_body)
    reasons = await ask()
    return _Answer(503 if reasons else 200, "\n".join(reasons) or "ready", has_body=has_body)


def _path_of(target: bytes) -> bytes:
    """Return the path in a target, which may name the host as well (RFC 9112, 3.2.2)."""
    scheme, separator, rest = target.partition(b"://")
    if separator and scheme.lower() in (b"http", b"https"):
        target = b"/" + rest.partition(b"/")[2]
    return target.partition(b"?")[0]


def _format(http: h11.Connection, answer: _Answer) -> bytes:
    """Return the bytes of an answer, which is the last on its connection."""
    import h11

    body = answer.text.encode() + b"\n"
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("Connection", "close"),
        *answer.headers,
    ]
    reason = _REASONS.get(answer.status, "Error")
    events: list[Any] = [h11.Response(status_code=answer.status, headers=headers, reason=reason)]
    if answer.has_body:
        events.append(h11.Data(data=body))
    return b"".join(http.send(one) or b"" for one in [*events, h11.EndOfMessage()])


_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
