"""The exercises of the tutorial: their texts, and the checks of solutions.

The rule: **each check does to the solution what the lesson did**, and compares the results with what the
exercise asks for. The hints name the most common mistakes; a test has one solution with each of them.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import trio
import trio.testing

from triosock import Connection
from triosock.testing import MemoryListener, open_server
from triosock.testing.leaks import Resources

from .greened import LOOKUP, check_lookup
from .processes import WORKER, check_worker
from .simulated import SEEDS, SELL, check_sell
from .verdict import SOON, Exercise, Wrong, causes, echo, send, want, want_reversed

# Lesson 1

COUNT = """Lesson 1: write an async function `handle(conn)` that answers each line with its number on
this connection and the line itself: "hello" gets "1 hello", and "again" on the same connection gets "2
again"."""


async def check_count(solution: Any) -> None:
    """Two clients at the same time, one of them slow."""
    async with open_server(solution.handle) as served:
        ada, bob = await served.connect(), await served.connect()
        await send(bob, b"hello\n")
        hint = "Answer each line at once: `async for line in conn.lines(): await conn.send_all(…)`."
        await want("1 hello", bob, "Ada said nothing, Bob said 'hello'", hint, served)
        await send(ada, b"hi\n")
        hint = "The number belongs to the connection: make it a local variable of `handle`, not a global one."
        await want("1 hi", ada, "After a line of Bob's, Ada said 'hi', her first line", hint, served)
        await send(bob, b"again\n")
        hint = "Stay in the loop: when `handle` returns, the connection ends."
        await want("2 again", bob, "Bob sent a second line, 'again'", hint, served)


# Lesson 2

UNTIL = """Lesson 2: write an async function `serve_until(stop, handler, listeners)` that serves
`handler` on the `listeners` (with triosock.serve_listeners) until the trio.Event `stop` is set. Then
it ends everything at once, also the connections, and returns when nothing is left."""


async def check_until(solution: Any) -> None:
    """A client in the middle of a request when `stop` is set."""
    listener, stop, returned = MemoryListener(), trio.Event(), trio.Event()
    before = Resources.now()

    async def run() -> None:
        await solution.serve_until(stop, echo, [listener])
        returned.set()

    async with trio.open_nursery() as nursery, Connection(await listener.connect()) as client:
        nursery.start_soon(run)
        await send(client, b"hello\n")
        await want("hello", client, "A client said 'hello'", "Start serve_listeners first.")
        if returned.is_set():
            raise Wrong("serve_until returned before `stop` was set", "Wait for it: `await stop.wait()`.")
        await send(client, b"half a li")
        stop.set()
        with trio.move_on_after(SOON):
            await returned.wait()
        if not returned.is_set():
            raise Wrong(
                f"{SOON:g} s after `stop` was set, serve_until had not returned",
                "A nursery ends when its tasks have ended: cancel it. A drain would wait for busy handlers.",
            )
        if not listener.is_closed:
            raise Wrong(
                "serve_until returned, and its listener is still open",
                "Start the server in a nursery of your own function: it cannot outlive that.",
            )
        await want("a reset", client, "After the end a client waited for its answer", "Cancel its handler.")
    if left := Resources.now().new_since(before):
        raise Wrong(f"serve_until returned, and left {', '.join(left)}", "Start it in your own nursery.")


# Lesson 3

ALL = """Lesson 3: write an async function `serve_all(handler, doors, task_status)` that starts one
server for each list of listeners in `doors` (with triosock.serve_listeners). When all of them listen,
it calls task_status.started(servers) with the list of the servers. If one cannot start, the others are
ended, and the error is raised."""


async def check_all(solution: Any) -> None:
    """Once with good listeners, once with a bad one among them."""
    doors = [[MemoryListener("first")], [MemoryListener("second")]]
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(SOON):
            servers = await nursery.start(solution.serve_all, echo, doors)
            await _check_started(servers, doors)
            nursery.cancel_scope.cancel()
            return await _check_failing(solution)
        raise Wrong(
            f"task_status.started was not called in {SOON:g} s",
            "`await nursery.start(triosock.serve_listeners, handler, listeners)` for each; then started.",
        )


async def _check_started(servers: Any, doors: list[list[MemoryListener]]) -> None:
    addresses = [getattr(one, "addresses", None) for one in servers] if isinstance(servers, list) else servers
    if addresses != [(listener.address,) for (listener,) in doors]:
        raise Wrong(
            f"started was given {servers!r}", "Give it the list of servers that nursery.start returns."
        )
    for (listener,) in doors:
        client = Connection(await listener.connect())
        await send(client, b"hello\n")
        await want(
            "hello", client, f"A client of {listener.address} said 'hello'", "Start one server for each list."
        )
        await client.aclose()


async def _check_failing(solution: Any) -> None:
    good = MemoryListener("good")
    with trio.CancelScope(shield=True), trio.move_on_after(SOON):
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(solution.serve_all, echo, [[good], ["no listener"]])
        except Exception as group:  # the group has what the solution raised
            if not all(isinstance(one, (TypeError, ValueError)) for one in causes(group)):
                raise
            if good.is_closed:
                return
            raise Wrong(
                "one server could not start, and the other still runs", "Start both in one nursery."
            ) from None
    raise Wrong(
        "one server could not start, and its error did not come out",
        "Do not catch it: the nursery cancels the others, and raises it.",
    )


# Lesson 4

LOGIN = """Lesson 4: write an async function `login(conn)`. The client sends two lines, a name and a
password, and has 10 seconds for both together. If it is in time, it gets "welcome NAME", with any password,
and from then on each of its lines is sent back, without a time limit. If it is too late, it gets "too
slow", and the connection ends."""


async def check_login(solution: Any) -> None:
    """Two lines in time, two lines that are too late together, and a long silence after the login."""
    async with open_server(solution.login) as served:
        ada = await served.connect()
        await send(ada, b"ada\n")
        await trio.sleep(4)
        await send(ada, b"secret\n")
        await want(
            "welcome ada", ada, "Ada sent both lines in 4 s", "The limit is 10 s for both lines.", served
        )
        await trio.sleep(60)
        await send(ada, b"hello\n")
        hint = "End the block of the deadline where the login ends, and serve the rest after it."
        await want("hello", ada, "Ada said 'hello' a minute after her login", hint, served)
        bob = await served.connect()
        await trio.sleep(8)
        await send(bob, b"ob\n")
        hint = "A timeout for each line adds up. One scope around both lines: `with trio.move_on_after(10):`."
        await want("too slow", bob, "Bob sent his name after 8 s and nothing more", hint, served)
        await want("the end of the connection", bob, "Bob waited after that", "Return from `login`.", served)


# Lesson 5

ANSWER = """Lesson 5: write an async function `answer(conn, left, right)`. For each line it calls the
async functions `left(line)` and `right(line)` at the same time, and sends what they return, with a
space between: "L R". If one of them raises, the other is cancelled, the client gets "error", and its
next line is served like any other."""


async def check_answer(solution: Any) -> None:
    """Both slow, one failing, and once more."""
    ended: list[str] = []

    async def left(line: bytes) -> bytes:
        await trio.sleep(2)
        if b"gold" in line:
            raise KeyError("gold")
        return b"L"

    async def right(line: bytes) -> bytes:
        ended.clear()
        try:
            await trio.sleep(30 if b"gold" in line else 2)
            return b"R"
        except trio.Cancelled:
            ended.append("cancelled")
            raise

    async def handle(conn: Connection) -> None:
        await solution.answer(conn, left, right)

    async with open_server(handle) as served:
        ada = await served.connect()
        await send(ada, b"tea\n")
        hint = "Each takes 2 s: start both in a nursery, `async with trio.open_nursery() as nursery:`."
        await want("L R", ada, "Ada said 'tea', and waited for 3 s", hint, served)
        await send(ada, b"gold\n")
        hint = "A nursery raises a group: `except Exception` around its `async with` gets it."
        await want("error", ada, "Ada said 'gold', for which left raises", hint, served)
        if ended != ["cancelled"]:
            raise Wrong("left had raised, and right was not cancelled", "Start both in the same nursery.")
        await send(ada, b"cake\n")
        hint = "Handle the error inside of the loop, not around it."
        await want("L R", ada, "After the error Ada said 'cake'", hint, served)


# Lesson 6

LIMIT = """Lesson 6: write a dict `OPTIONS` for serve_tcp(handler, port, **OPTIONS), which then
serves at most three connections at a time. A further client gets "busy", and its connection is closed."""


async def check_limit(solution: Any) -> None:
    """Three clients that stay, a fourth that is refused, and a fifth when there is room again."""
    async with open_server(echo, **solution.OPTIONS) as served:
        inside = [await served.connect() for _ in range(3)]
        for client in inside:
            await send(client, b"hello\n")
            hint = "Three may be served: max_connections=3."
            await want("hello", client, "One of the first three said 'hello'", hint, served)
        fourth = await served.connect()
        hint = "By default it waits. `Limits(…, overflow=…)` takes an async function of the connection."
        await want("busy", fourth, "A fourth client connected", hint, served)
        await want(
            "the end of the connection", fourth, "It waited after that", "Return from that function.", served
        )
        await inside[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        fifth = await served.connect()
        await send(fifth, b"hello\n")
        await want(
            "hello",
            fifth,
            "One left, and a new client said 'hello'",
            "A closed connection frees its slot.",
            served,
        )


# Lesson 7

DRAIN = """Lesson 7: write an async function `handle(conn)` for a protocol without lines: a request is 8
bytes, and its answer the same bytes backwards. When the server drains, idle connections end at once;
a client that has sent a part of a request may send the rest, and gets its answer."""


async def check_drain(solution: Any) -> None:
    """One idle client, and one in the middle of a request."""
    async with open_server(solution.handle) as served:
        idle, busy = await served.connect(), await served.connect()
        for client in (idle, busy):
            await want_reversed(
                client, b"12345678", b"", "A client sent '12345678'", "The answer is `data[::-1]`.", served
            )
        await send(busy, b"1234")
        await trio.testing.wait_all_tasks_blocked()
        served.server.drain(grace=60)
        hint = (
            "The server cannot know where your requests begin. Read conn.frames(triosock.FixedSize(8)), "
            "or wait for the first byte of each with `await conn.wait_request()`, which returns False "
            "when none will come. In a block `with conn.idle():` a drain may end the wait before it assigns: "
            "the variable must be empty before, and empty means the end."
        )
        await want("the end of the connection", idle, "The server drained, and an idle client waited", hint)
        done = "The server drained when a client had sent '1234'; then it sent '5678'"
        await want_reversed(
            busy, b"5678", b"1234", done, "After the first byte of a request, a wait is no idle wait.", served
        )


# Lesson 8

GUEST = """Lesson 8: write, for triosock.compat, a StreamRequestHandler `Handler` that answers each line in
capitals, and a ThreadingTCPServer `Server` that cuts each connection one second after it began. A handler
whose connection is cut appends its client_address to the list `cut`, and ends."""


async def check_guest(solution: Any) -> None:
    """A quick client, and one that never ends its line. In real time: threads have no virtual time."""
    compat: Any = sys.modules.get("triosock.compat")  # imported by the solution, not by this package
    if compat is None or not (
        isinstance(solution.Server, type) and issubclass(solution.Server, compat.ThreadingTCPServer)
    ):
        raise Wrong("Server is no compat.ThreadingTCPServer", "`import triosock.compat as socketserver`")
    async with trio.open_nursery() as nursery:
        server = solution.Server(("127.0.0.1", 0), solution.Handler)
        serving: Any = await nursery.start(compat.serve, server)
        streams = [await trio.open_tcp_stream("127.0.0.1", serving.addresses[0].port) for _ in range(2)]
        slow, quick = [Connection(stream) for stream in streams]
        async with slow, quick:
            await send(slow, b"half a li")
            await send(quick, b"hello\n")
            hint = "`for line in self.rfile: self.wfile.write(line.upper())`"
            await want("HELLO", quick, "A client said 'hello'", hint)
            await quick.aclose()
            hint = "`trio_policy = compat.Policy(request_timeout=1.0)` in the body of Server."
            end = "the end of the connection"
            await want(end, slow, "Another sent half a line, and waited", hint)
            address = streams[0].socket.getsockname()
        serving.drain(grace=0)
    if solution.cut != [address]:
        hint = "compat.RequestCut is raised in the handler: put `except compat.RequestCut:` around the loop."
        raise Wrong(f"after that, `cut` was {solution.cut!r}, and not {[address]!r}", hint)


def _exercise(task: str, names: str, check: Any, praise: str, *, virtual_time: bool = True) -> Exercise:
    return Exercise(
        task=task, names=tuple(names.split()), check=check, praise=praise, virtual_time=virtual_time
    )


EXERCISES: Final = {
    "lesson1": _exercise(COUNT, "handle", check_count, "Each connection has its own variables."),
    "lesson2": _exercise(
        UNTIL, "serve_until", check_until, "The function that starts a server also ends it."
    ),
    "lesson3": _exercise(ALL, "serve_all", check_all, "All of them, or none."),
    "lesson4": _exercise(
        LOGIN, "login", check_login, "A deadline belongs to a piece of work, not to a call."
    ),
    "lesson5": _exercise(
        ANSWER, "answer", check_answer, "A failure reaches the client that asked, and no other."
    ),
    "lesson6": _exercise(LIMIT, "OPTIONS", check_limit, "A client that cannot be served hears so at once."),
    "lesson7": _exercise(
        DRAIN, "handle", check_drain, "A drain ends idle waits at once, and lets work finish."
    ),
    "lesson8": _exercise(
        GUEST,
        "Handler Server cut",
        check_guest,
        "A thread that handles RequestCut can be ended.",
        virtual_time=False,
    ),
    "lesson9": _exercise(SELL, "sell", check_sell, f"It was right in {SEEDS} orders of events."),
    "lesson10": _exercise(
        WORKER, "worker", check_worker, "Workers are replaced, and no client notices.", virtual_time=False
    ),
    "lesson11": _exercise(
        LOOKUP,
        "Handler Server ended",
        check_lookup,
        "Waits can be cancelled, and blocking calls have a thread.",
        virtual_time=False,
    ),
}
