"""The exercise of the lesson about green handlers. In real time: a blocking call has no virtual time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Final

import trio

from triosock import Connection

from .verdict import Wrong, send, want

LOOKUP = """Lesson 11: write, for triosock.compat, a StreamRequestHandler `Handler` and a GreenTCPServer
`Server`. The answer to each line is what `self.server.lookup(line)` returns: it takes a line, returns a
line, and blocks for a while. Other clients must be served meanwhile. However a handler ends, it appends its
client_address to the list `ended`."""

#: Seconds that a lookup takes while no other client is served: less than a client waits for its answer.
WHILE: Final = 2.0


def check_lookup(solution: Any) -> Any:
    """Refuse a server that is not green; serve a green one."""
    compat: Any = sys.modules.get("triosock.compat")  # imported by the solution, not by this package
    if compat is None or not (
        isinstance(solution.Server, type) and issubclass(solution.Server, compat.GreenTCPServer)
    ):
        raise Wrong("Server is no compat.GreenTCPServer", "`class Server(compat.GreenTCPServer): pass`")
    return trio.run(_check, solution, compat.serve)


async def _check(solution: Any, serve: Callable[..., Any]) -> None:
    """Ada's lookup goes on until Bob has his answer; then both are idle, and Cyd has sent half a line."""
    is_answered = threading.Event()

    def lookup(line: bytes) -> bytes:
        if line == b"slow\n" and not is_answered.wait(WHILE):
            return b"slow, and meanwhile nobody was served\n"
        return b"found " + line

    async with trio.open_nursery() as nursery:
        server = solution.Server(("127.0.0.1", 0), solution.Handler)
        server.lookup = lookup
        serving: Any = await nursery.start(serve, server)
        streams = [await trio.open_tcp_stream("127.0.0.1", serving.addresses[0].port) for _ in range(3)]
        addresses = [stream.socket.getsockname() for stream in streams]
        ada, bob, cyd = [Connection(stream) for stream in streams]
        async with ada, bob, cyd:
            await send(cyd, b"half a li")
            await send(ada, b"slow\n")
            await send(bob, b"tea\n")
            hint = "`for line in self.rfile: self.wfile.write(compat.blocking(self.server.lookup, line))`"
            await want("found tea", bob, "Ada's lookup went on, and Bob said 'tea'", hint)
            is_answered.set()
            await want("found slow", ada, "Bob had his answer, and Ada's lookup ended", hint)
            serving.drain(grace=0.5)
            hint = "A handler that waits is cancelled at the end of the grace: let `trio.Cancelled` pass."
            await want("the end of the connection", cyd, "Cyd sent half a line, and the server drained", hint)
    _compare(list(solution.ended), addresses)


def _compare(ended: list[object], addresses: list[object]) -> None:
    hint = "`finally: ended.append(self.client_address)`, around the loop."
    *idle, cyd = addresses
    if any(one not in ended for one in idle):
        raise Wrong(f"the handlers of {idle} have ended, and `ended` was {ended}", hint)
    if cyd not in ended:
        hint = f"trio.Cancelled is no Exception. {hint}"
        raise Wrong(f"the handler of {cyd} was cancelled, and `ended` was {ended}", hint)
    if len(ended) != len(addresses):
        raise Wrong(f"three handlers ended, and `ended` was {ended}", hint)
