"""The demo: `make demo`, or `python -m examples.demo`. Four servers, real clients, a drain under load.

It shows how a drain treats each kind of client (one function each, below): idle ones end, busy ones get their
answers, and only the one whose request never ends is cut. `play` is the whole run, from top to bottom.

It writes a picture of the run to `demo-timeline.html`, and opens it if there is a browser.

The last line but one says that nothing is left: tasks and sockets are counted, and the folder of the socket
file is checked. The exit code is 1 if anything is left, or if a client did not get the expected end.
"""

from __future__ import annotations

import collections
import hashlib
import logging
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import webbrowser
from functools import partial

import trio

import triosock
from triosock import compat, events
from triosock.observe import Timeline

IDLE, BUSY, UPLOADING, QUEUED, UNIX_IDLE, COMPAT_IDLE = 8, 6, 4, 3, 2, 2
PICTURE = os.path.abspath("demo-timeline.html")
WORK = 0.5  # seconds that a job takes
GRACE = 1.5  # seconds that busy connections have in the drain
UPLOAD = b"x" * 50_000

began = time.monotonic()


def tell(who, text):
    print(f"{time.monotonic() - began:6.3f} s  {who:<7} {text}", flush=True)


# The servers


async def shout(conn):
    """Answer four kinds of requests: any text (sent back in capitals), job (takes a while), upload SIZE,
    bye.
    """
    async for line in conn.lines():
        match line.split():
            case [b"job"]:
                await conn.send_all(b"working on it\n")
                await trio.sleep(WORK)  # as a query to a database would
                await conn.send_all(b"the job is done\n")
            case [b"upload", size]:
                await conn.send_all(b"go on\n")
                data = await conn.receive_exactly(int(size))  # part of the same request
                await conn.send_all(checksum(data))
            case [b"bye"]:
                return
            case _:
                await conn.send_all(line.upper())


async def report_status(server, conn):
    """Send the numbers of the other server."""
    async for line in conn.lines():
        if line.strip() == b"bye":
            return
        now = server.statistics()
        await conn.send_all(b"%d connected, %d so far\n" % (now.active, now.accepted))


class OldShout(compat.StreamRequestHandler):
    """A handler for the standard library's socketserver: sync, with a thread for each connection."""

    def handle(self):
        """Send each line back in capitals."""
        for line in self.rfile:
            self.wfile.write(line.upper())


async def pong(datagram):
    """Answer one datagram."""
    await datagram.reply(b"pong to " + datagram.data)


def checksum(data):
    return b"sha256 " + hashlib.sha256(data).hexdigest().encode() + b"\n"


class Teller:
    """An observer that prints the events of servers, and of single connections only the cuts."""

    wants = (events.ServerStarted, events.DrainStarted, events.ConnectionClosed, events.ServerClosed)

    def on_event(self, event):
        """Print one event."""
        match event:
            case events.ServerStarted():
                tell(event.server, "server listens on " + " and ".join(map(str, event.addresses)))
            case events.DrainStarted():
                tell(event.server, f"server drains: {event.active} connected, {event.idle} of them idle")
            case events.ConnectionClosed(cause=triosock.Cause.DRAIN):
                tell(event.server, f"server cuts connection {event.connection}, {event.duration:.1f} s old")
            case events.ServerClosed():
                tell(event.server, "server closed")


# The clients. Each returns its outcome, which is counted in `Clients.outcomes`.


class Clients:
    """The clients of one server, and their outcomes."""

    def __init__(self, dial):
        self.dial = dial
        self.size = collections.Counter()
        self.outcomes = collections.Counter()
        self.drain_has_begun = trio.Event()

    async def gather(self, nursery, count, kind, client):
        """Start so many clients; return when all of them are in the wanted state."""
        self.size[kind] = count
        for _ in range(count):
            await nursery.start(self._play, kind, client)

    async def _play(self, kind, client, task_status):
        """Run one client; print the outcomes of its kind if it was the last one."""
        stream = await self.dial()
        async with triosock.Connection(stream) as conn:  # for its reading methods
            try:
                outcome = await client(self, conn, task_status)
            except trio.BrokenResourceError:
                outcome = "reset"
        self.outcomes[kind, outcome] += 1
        self.size[kind] -= 1
        if not self.size[kind]:
            ends = [f"{n} {end}" for (its, end), n in self.outcomes.items() if its == kind]
            tell("clients", f"{kind}: {', '.join(ends)}")

    def count(self, outcome):
        """Return the number of clients with this outcome."""
        return sum(number for (_, its), number in self.outcomes.items() if its == outcome)


async def ask(conn, request):
    await conn.send_all(request + b"\n")
    return await conn.receive_until(b"\n")


async def rest(conn):
    """Return the bytes until the end of the stream."""
    received = b""
    while data := await conn.receive_some():
        received += data
    return received


async def idle_client(crowd, conn, task_status):
    """Has its answer, and keeps the connection open."""
    await ask(conn, b"hello")
    task_status.started()
    return "ended" if await rest(conn) == b"" else "confused"


async def busy_client(crowd, conn, task_status):
    """Waits for the answer to its job."""
    await ask(conn, b"job")
    task_status.started()
    return "answered" if await rest(conn) == b"the job is done\n" else "lost"


async def uploading_client(crowd, conn, task_status):
    """Is in the middle of its request when the drain begins."""
    await ask(conn, b"upload %d" % len(UPLOAD))
    await conn.send_all(UPLOAD[:1000])
    task_status.started()
    await crowd.drain_has_begun.wait()
    await conn.send_all(UPLOAD[1000:])
    return "answered" if await rest(conn) == checksum(UPLOAD) else "lost"


async def stuck_client(crowd, conn, task_status):
    """Has begun a request, and never ends it."""
    await ask(conn, b"upload %d" % len(UPLOAD))
    task_status.started()
    try:
        await rest(conn)
    except trio.BrokenResourceError:
        return "cut"
    return "confused"


async def queued_client(crowd, conn, task_status):
    """Has connected before the drain, and waits in the kernel's accept queue."""
    await conn.send_all(b"hello\n")
    task_status.started()
    return "answered" if await rest(conn) == b"HELLO\n" else "lost"


async def try_to_come_late(dial):
    try:
        stream = await dial()
    except OSError:
        tell("clients", "a new connection is refused: nothing listens any more")
        return True
    await stream.aclose()
    return False


async def drive_with_nc(port, path):
    if shutil.which("nc") is None:
        tell("nc", "is not installed here; skipped")
        return
    for where in (["127.0.0.1", str(port)], ["-U", path]):
        done = await trio.run_process(
            ["nc", *where], stdin=b"hello\nbye\n", capture_stdout=True, stderr=subprocess.DEVNULL, check=False
        )
        tell("nc", f"{' '.join(where)}: says hello, hears {done.stdout.decode().strip()}")


async def drive_the_others(compat_port, udp_port):
    async with await trio.open_tcp_stream("127.0.0.1", compat_port) as stream:
        await stream.send_all(b"hello\n")
        tell("compat", f"a thread answers {(await stream.receive_some()).decode().strip()}")
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.connect(("127.0.0.1", udp_port))
        await sock.send(b"ping")
        tell("udp", f"a task answers {(await sock.recv(100)).decode()}")


# The run


async def play(path):
    """Start the servers, run the clients, drain; return the reports, and whether all outcomes are as
    expected.
    """
    with triosock.DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            tell("demo", "starts its servers, in one nursery")
            options = {"observers": [Teller()]}
            server = await nursery.start(
                partial(triosock.serve_tcp, shout, 0, host="127.0.0.1", name="tcp", **options)
            )
            status = partial(report_status, server)
            await nursery.start(
                partial(triosock.serve_unix, status, path, mode=0o600, name="unix", **options)
            )
            old = compat.ThreadingTCPServer(("127.0.0.1", 0), OldShout)
            await nursery.start(partial(compat.serve, old, name="compat", **options))
            udp = await nursery.start(
                partial(triosock.serve_udp, pong, 0, host="127.0.0.1", name="udp", **options)
            )

            port, compat_port = server.addresses[0].port, old.server_address[1]
            await drive_with_nc(port, path)
            await drive_the_others(compat_port, udp.addresses[0].port)
            kept_promises = await drain_under_load(scope, server, port, path, compat_port)
    return scope.reports, kept_promises


async def drain_under_load(scope, server, port, path, compat_port):
    """Start all kinds of clients, drain, wait for their end; return whether all outcomes are as expected."""
    dial_tcp = partial(trio.open_tcp_stream, "127.0.0.1", port)
    crowd, neighbours = Clients(dial_tcp), Clients(partial(trio.open_unix_socket, path))
    others_still = Clients(partial(trio.open_tcp_stream, "127.0.0.1", compat_port))
    async with trio.open_nursery() as others:
        async with trio.open_nursery() as idle:
            await crowd.gather(others, BUSY, "waiting for a job", busy_client)
            await crowd.gather(others, UPLOADING, "uploading", uploading_client)
            await crowd.gather(others, 1, "stuck", stuck_client)
            await crowd.gather(idle, IDLE, "idle", idle_client)
            await neighbours.gather(idle, UNIX_IDLE, "idle (unix)", idle_client)
            await others_still.gather(idle, COMPAT_IDLE, "idle (compat)", idle_client)
            server.suspend()
            await crowd.gather(others, QUEUED, "queued", queued_client)
            for one in (crowd, neighbours, others_still):
                tell("clients", ", ".join(f"{n} {kind}" for kind, n in one.size.items()))
            tell("demo", f"drains all servers, with a grace period of {GRACE} s")
            scope.drain(grace=GRACE)
        # The idle connections have ended, so the listeners are closed: a server closes those first.
        refused = await try_to_come_late(dial_tcp)
        crowd.drain_has_begun.set()
    answered, reset = crowd.count("answered"), crowd.count("reset")
    tell("clients", f"{answered} got their answer in the drain, {reset} a reset")
    return refused and crowd.outcomes + neighbours.outcomes + others_still.outcomes == {
        ("waiting for a job", "answered"): BUSY,
        ("uploading", "answered"): UPLOADING,
        ("stuck", "cut"): 1,
        ("idle", "ended"): IDLE,
        ("idle (unix)", "ended"): UNIX_IDLE,
        ("idle (compat)", "ended"): COMPAT_IDLE,
        ("queued", "answered"): QUEUED,
    }


# What is left


def count_sockets():
    number = 0
    for name in os.listdir("/dev/fd"):
        try:
            number += stat.S_ISSOCK(os.fstat(int(name)).st_mode)
        except OSError:
            pass  # the descriptor of listdir itself
    return number


def count_tasks():
    return trio.lowlevel.current_statistics().tasks_living


def show(path):
    """Open the picture at a terminal with a display, and not in CI."""
    has_screen = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if sys.stdout.isatty() and has_screen and "CI" not in os.environ:
        webbrowser.open(pathlib.Path(path).resolve().as_uri())


async def main():
    """Do the run and check that nothing is left of it; return the exit code."""
    logging.getLogger("triosock").addHandler(logging.NullHandler())  # `tell` prints instead
    tasks, sockets = count_tasks(), count_sockets()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "demo.sock")
        with trio.fail_after(60):  # the run takes two seconds
            with Timeline() as timeline:
                reports, kept_promises = await play(path)
        for name, report in reports:
            tell("report", f"{name}: {report}")
        timeline.write_html(PICTURE)
        tell("demo", f"the picture of this run is {PICTURE}")
        left = (count_tasks() - tasks, count_sockets() - sockets, len(os.listdir(folder)))
    if any(left):
        tell("demo", "FAILED: left over are {} tasks, {} sockets, {} files".format(*left))
    elif not kept_promises:
        tell("demo", "FAILED: a client did not get the expected end")
    else:
        tell("demo", "nothing is left: no task, no socket, no file (counted)")
        tell("demo", "next: look at the picture, then talk to .venv/bin/python examples/01_echo.py")
        show(PICTURE)
    return int(any(left) or not kept_promises)


if __name__ == "__main__":
    sys.exit(trio.run(main))
