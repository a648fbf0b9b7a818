"""The answers of docs/howto/questions.md: each is run by a test."""

import asyncio
import contextvars
import json
import logging
import math
import ssl
import threading
from functools import partial

import trio

import triosock
from triosock.events import ConnectionClosed
from triosock.observe import Recorder, snapshot


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def two_ports(task_status=trio.TASK_STATUS_IGNORED):
    """Two ports, two handlers, one end: a signal drains both."""
    async with trio.open_nursery() as nursery:
        first = await nursery.start(partial(triosock.serve_tcp, shout, 0, host="127.0.0.1"))
        second = await nursery.start(partial(triosock.serve_tcp, tell_who, 0, host="127.0.0.1"))
        task_status.started((first, second))


async def find_port(nursery):
    """Port 0: the system chooses, and the server says which."""
    server = await nursery.start(partial(triosock.serve_tcp, shout, 0, host="127.0.0.1"))
    (address,) = server.addresses
    return address.port


class Counter:
    """All handlers run in one thread, and switch only at an `await`."""

    def __init__(self):
        self.visits = 0

    async def handle(self, conn):
        self.visits += 1
        await conn.send_all(f"you are number {self.visits}\n".encode())


async def with_background_job(seconds=60, task_status=trio.TASK_STATUS_IGNORED):
    """A job beside the clients: it ends when the server has drained."""
    seen = []

    async def tidy():
        while True:
            await trio.sleep(seconds)
            seen.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tidy)
        await triosock.serve_tcp(shout, 0, host="127.0.0.1", task_status=task_status)
        nursery.cancel_scope.cancel()
    return seen


def look_up(name):
    """Something that blocks."""
    return f"{name} in {threading.current_thread().name}\n"


async def ask_blocking(conn):
    """Blocking code goes into a thread, a bounded number of them; other clients are served meanwhile."""
    async for line in conn.lines():
        answer = await trio.to_thread.run_sync(look_up, line.decode().strip())
        await conn.send_all(answer.encode())


request_id = contextvars.ContextVar("request_id")


async def with_context(conn):
    """A value for each request, which functions below see without being given it."""
    async for line in conn.lines():
        request_id.set(line.strip().decode())
        await conn.send_all(describe())


def describe():
    return f"request {request_id.get()}\n".encode()


async def tell_who(conn):
    """Send the client's address, on TCP, or its process and user, on a Unix socket."""
    if isinstance(conn.peer, triosock.UnixAddress):
        who = conn.credentials()
        await conn.send_all(f"process {who.pid} of user {who.uid}\n".encode())
    else:
        await conn.send_all(f"{conn.peer.host}\n".encode())


def who_is_connected(server):
    """The living tree has each connection with its peer, and what it is doing for how long."""
    return [(node.peer, node.state) for node in snapshot(server).walk() if node.kind == "connection"]


def why_cancelled(main):
    with Recorder() as recorder:
        trio.run(main)
    found = [step for step in recorder.steps() if step.kind == "cancel"]
    return [f"{step.name}: {step.text}, at {step.where}" for step in found]


async def pause(server, seconds):
    """Stop accepting for a while; open connections are served, new ones wait in the kernel."""
    server.suspend()
    await trio.sleep(seconds)
    server.resume()


rates = triosock.Limits(request_rate_per_peer=triosock.Rate(20, per=1, burst=40), request_overflow="reject")
limits = triosock.Limits(max_connections=1000, max_connections_per_peer=10, overflow="reject")
timeouts = triosock.Timeouts(idle=60, request=30, send=20, grace=10)


async def stop_from_a_handler(conn):
    """Any task may drain the server: this handler finishes, as all do."""
    async for line in conn.lines():
        if line == b"shutdown\n":
            conn.server.drain(grace=5)
            await conn.send_all(b"bye\n")
            return
        await conn.send_all(line)


async def theirs(text):
    """A function of an asyncio library."""
    await asyncio.sleep(0)
    return text.upper()


async def call_asyncio(conn):
    """In a thread with its own loop: simple, and enough where calls are few."""
    async for line in conn.lines():
        await conn.send_all(await trio.to_thread.run_sync(asyncio.run, theirs(line)))


class JsonLog:
    """A line of JSON for each connection that ended, with what ended it: an observer is any such class."""

    wants = (ConnectionClosed,)

    def __init__(self, write=print):
        self.write = write

    def on_event(self, event):
        fields = {"peer": str(event.peer), "cause": event.cause, "seconds": round(event.duration, 3)}
        self.write(json.dumps(fields))


async def count_frames(conn):
    """Binary messages: each has its length before it."""
    async for frame in conn.frames(triosock.LengthPrefixed(4, max_bytes=1_000_000)):
        await conn.send_all(f"{len(frame)} bytes\n".encode())


async def send_file(conn, path):
    """The kernel copies (sendfile(2)); the loop and the memory have nothing to do with it."""
    with open(path, "rb") as file:  # noqa: ASYNC230 - a local file opens at once
        await conn.send_file(file)


async def speak_first(conn, seconds=5):
    """A deadline of your own is a trio scope; nothing of the server's is in its way."""
    await conn.send_all(b"your name?\n")
    with trio.move_on_after(seconds):
        name = await conn.receive_until(b"\n")
        await conn.send_all(b"hello " + name)
        return
    await conn.send_all(b"too slow\n")


async def after_login(conn):
    """Little time before the login, as much as they like after it."""
    conn.set_timeouts(idle=10)
    if await conn.receive_until(b"\n") != b"secret\n":
        return
    conn.set_timeouts(idle=math.inf)
    async for line in conn.lines():
        await conn.send_all(line)


async def close_code(conn):
    """End one connection: return, and what was sent arrives; `abort`, and the peer sees a reset."""
    if await conn.receive_until(b"\n") == b"polite\n":
        await conn.send_all(b"bye\n")
        return
    conn.abort()


def client_certificates(authority):
    """Only clients with a certificate of this authority get in; `conn.tls` says whose it was."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    return context


async def answer_datagram(datagram):
    """One datagram, one task: the reply goes where it came from, from the address that it came to."""
    await datagram.reply(datagram.data.upper())


def in_a_thread(handler, started, stop):
    """A server in a thread of a program that is not trio's. `started` gets the address; `stop` ends it."""

    async def main():
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(triosock.serve_tcp, handler, 0, host="127.0.0.1"))
            started(server.addresses[0])
            await trio.to_thread.run_sync(stop.wait)
            server.drain()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    return thread


async def refuse_politely(error, conn):
    """Given as `on_error`: tells a client that exceeds its rate when to try again."""
    if isinstance(error, triosock.RateExceeded):
        await conn.send_all(f"ask again in {error.retry_after:.2f} s\n".encode())


async def with_health(handler, endpoint, task_status=trio.TASK_STATUS_IGNORED):
    """GET /live says that the program runs, GET /ready that it takes clients: 200, or 503 with the reason."""
    async with triosock.open_health(endpoint) as health, trio.open_nursery() as nursery:
        server = await nursery.start(partial(triosock.serve_tcp, handler, 0, host="127.0.0.1"))
        task_status.started((server, health))


async def answer_failure(error, conn):
    """Answer a client whose handler failed; the log has the traceback."""
    logging.getLogger("shop").warning("%s: %r", conn.peer, error)
    await conn.send_all(b"sorry\n")
